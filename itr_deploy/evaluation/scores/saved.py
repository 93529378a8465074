"""Scores that another evaluation of the same images and captions kept."""

from __future__ import annotations

import logging
from pathlib import Path

from itr_deploy.errors import InputError
from itr_deploy.evaluation.data.split import Split
from itr_deploy.evaluation.directory import SCORES
from itr_deploy.evaluation.scores.matrix import ScoreMatrix

log = logging.getLogger(__name__)


def saved_scores(evaluation: Path, split: Split) -> ScoreMatrix:
    """The scores in the directory of an evaluation that kept them.

    Another model may read other features of the same images. Then only the numbers of images and
    captions can be checked, and a warning says so.

    Raises:
        InputError: There are none, they are not finished, or are of another number of images or
            captions or of a shortlist.
    """
    matrix = ScoreMatrix.kept(evaluation / SCORES)
    images, captions = len(split.image_ids), len(split.captions)
    if (matrix.grid.rows, matrix.grid.columns) != (images, captions):
        raise InputError(
            f"{evaluation}: scores of {matrix.grid.rows} images and {matrix.grid.columns} "
            f"captions; this split has {images} and {captions}"
        )
    if str(matrix.of.get("kind", "")).startswith("shortlist"):
        raise InputError(f"{evaluation}: scores of a shortlist; evaluate it without candidates=")
    if matrix.of.get("data") != split.digest():
        log.warning(
            "%s: its features or captions are others; its scores are taken as those of the same "
            "images and captions, in the same order",
            evaluation,
        )
    return matrix
