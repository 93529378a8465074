"""Finds a matcher that tells no items apart, as a training that collapsed leaves one behind."""

from __future__ import annotations

import numpy as np

from itr_deploy.bundle.modality import MODALITIES, Modality
from itr_deploy.evaluation.measures.recall import BLOCK_BYTES, row_blocks
from itr_deploy.evaluation.scores.split_scores import Scores

SAME = 1e-6
"""Scores that differ by no more than this are alike; so are large ones up to rounding."""


WARNING = (
    "all {} score alike, whatever they are searched with: the training of this checkpoint has "
    "probably collapsed, and it finds nothing"
)


def collapse(scores: Scores) -> str | None:
    """The warning that a matcher tells no images or no captions apart; None if it tells both.

    Args:
        scores: ``float32 [N, C]``, every pair's, read in blocks of rows.
    """
    names: dict[Modality, str] = {"image": "images", "text": "captions"}
    found = indistinct(scores)
    return WARNING.format(" and ".join(names[kind] for kind in found)) if found else None


def indistinct(scores: Scores, block_bytes: int = BLOCK_BYTES) -> tuple[Modality, ...]:
    """The modalities whose items all score alike, whatever the query is.

    Args:
        scores: ``float32 [N, C]``, every pair's, read in blocks of rows.
        block_bytes: Size of a block in bytes.
    """
    images, captions = scores.shape
    lowest, highest = np.full(captions, np.inf), np.full(captions, -np.inf)
    alike = dict.fromkeys(MODALITIES, images * captions > 0)
    for rows in row_blocks(images, captions, block_bytes):
        block = scores[rows, :]
        alike["text"] &= _alike(block.min(axis=1), block.max(axis=1))
        np.minimum(lowest, block.min(axis=0), out=lowest)
        np.maximum(highest, block.max(axis=0), out=highest)
    alike["image"] &= _alike(lowest, highest)
    several = {"image": images > 1, "text": captions > 1}
    return tuple(kind for kind in MODALITIES if alike[kind] and several[kind])


def _alike(lowest: np.ndarray, highest: np.ndarray) -> bool:
    """Whether every query's lowest and highest scores are alike; NaN is like nothing."""
    scale = np.maximum(1, np.abs(highest))
    return bool((highest - lowest <= SAME * scale).all())
