"""Recall of the single steps of a matcher whose score is the sum of its steps' scores."""

from __future__ import annotations

from itr_deploy.evaluation.data.answers import Answers
from itr_deploy.evaluation.measures.figures import Recall
from itr_deploy.evaluation.measures.recall import ranks, recall
from itr_deploy.evaluation.scores.combined import Sum
from itr_deploy.evaluation.scores.matrix import ScoreMatrix


def step_recalls(matrix: ScoreMatrix, answers: Answers) -> list[tuple[Recall, Recall]]:
    """For every step, the recall by its own part of the score and by all parts up to it.

    Args:
        matrix: Plane 0 holds the scores, the other planes the parts of the steps in order.
        answers: Which captions belong to which image.
    """
    parts = [matrix.plane(number) for number in range(1, matrix.planes)]
    return [
        (recall(ranks(part, answers)), recall(ranks(Sum(parts[:step]), answers)))
        for step, part in enumerate(parts, start=1)
    ]
