"""Another way to score the same split, and how the bundle differs from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from itr_deploy.evaluation.data.split import Split
from itr_deploy.evaluation.measures.figures import BothWays
from itr_deploy.evaluation.measures.recall import BLOCK_BYTES, Ranks
from itr_deploy.evaluation.measures.reranking import Network
from itr_deploy.evaluation.progress import QUIET, Bar
from itr_deploy.evaluation.scores.fill import TileScorer, fill, resume_matrix
from itr_deploy.evaluation.scores.matrix import ScoreMatrix
from itr_deploy.evaluation.scores.split_scores import Scores


@dataclass(frozen=True)
class Baseline:
    """What an evaluation is compared with.

    Attributes:
        name: Its human-readable name.
        scorer: Computes its scores.
        identity: What determines the scores, besides the data.
        network: The re-ranker's scores, if the evaluation re-ranks.
    """

    name: str
    scorer: TileScorer
    identity: Mapping[str, str]
    network: Network | None = None


def baseline_scores(
    baseline: Baseline, split: Split, root: Path, force: bool, bar: Bar = QUIET
) -> ScoreMatrix:
    """A split's scores by the baseline, stored in ``root``; an interrupted run is resumed."""
    identity = {**baseline.identity, "data": split.digest()}
    matrix = resume_matrix(root, identity, force=force)
    matrix = matrix or ScoreMatrix.create(root, identity, baseline.scorer.grid)
    fill(matrix, baseline.scorer, bar, baseline.name)
    return matrix


def largest_difference(scores: Scores, baseline: Scores) -> float:
    """The largest absolute difference between two matrices of scores, read block by block."""
    rows, columns = scores.shape
    step = max(1, BLOCK_BYTES // (4 * columns))
    largest = 0.0
    for start in range(0, rows, step):
        part = slice(start, min(start + step, rows)), slice(0, columns)
        largest = max(largest, float(np.abs(scores[part] - baseline[part]).max()))
    return largest


def moved(found: Ranks, baseline: Ranks) -> BothWays[int]:
    """How many queries have a different rank."""
    return BothWays[int](
        image_to_text=int((found.image_to_text != baseline.image_to_text).sum()),
        text_to_image=int((found.text_to_image != baseline.text_to_image).sum()),
    )
