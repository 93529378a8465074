"""Recall of the single steps of a matcher whose score is the sum of its steps' scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from itr_deploy.evaluation.data.answers import Answers
from itr_deploy.evaluation.measures.figures import Recall
from itr_deploy.evaluation.measures.recall import ranks, recall
from itr_deploy.evaluation.scores.matrix import ScoreMatrix
from itr_deploy.evaluation.scores.split_scores import Scores


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


@dataclass(frozen=True, eq=False)
class Sum:
    """The sum of matrices of scores, computed part by part as it is read."""

    terms: Sequence[Scores]

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of images and of captions."""
        return self.terms[0].shape

    def __getitem__(self, part: tuple[slice, slice]) -> NDArray[np.float32]:
        total = np.array(self.terms[0][part])
        for term in self.terms[1:]:
            total += term[part]
        return total
