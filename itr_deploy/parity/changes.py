"""How far two score matrices of the same data rank differently."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from itr_deploy.runtime.ranking import ROUNDING

TOP = 10
"""Depth at which rankings are compared."""

DEPTHS = (1, 5, 10)

EQUAL = ROUNDING
"""Scores nearer to each other count as equal: an item's place in a product changes that much."""


@dataclass(frozen=True)
class RankChange:
    """One direction's rankings before and after a change of the model.

    Attributes:
        name: The direction.
        queries: How many rankings.
        items: Items in each.
        before: Recall at 1, 5 and 10 before, in percent.
        after: The same after.
        moved: Share of the queries whose right item has another rank.
        mean_move: Mean distance that it moved, in ranks.
        top_overlap: Mean share of the top 10 before that is in the top 10 after.
        same_order: Share of the rankings that are equal, but for items with equal scores.
    """

    name: str
    queries: int
    items: int
    before: tuple[float, ...]
    after: tuple[float, ...]
    moved: float
    mean_move: float
    top_overlap: float
    same_order: float


def rank_change(
    got: NDArray[np.float32], reference: NDArray[np.float32], per: int
) -> tuple[RankChange, RankChange]:
    """Both directions of two matrices ``[images, texts]``, an image's ``per`` texts together."""
    right = np.arange(got.shape[1]) // per
    image_truth = right[None] == np.arange(len(got))[:, None]
    return (
        _change("text to image", got.T, reference.T, image_truth.T),
        _change("image to text", got, reference, image_truth),
    )


def _change(
    name: str, got: NDArray[np.float32], reference: NDArray[np.float32], truth: NDArray[np.bool_]
) -> RankChange:
    ranks_after, ranks_before = _ranks(got, truth), _ranks(reference, truth)
    order, before = (np.argsort(-scores, axis=1, kind="stable") for scores in (got, reference))
    top = min(TOP, got.shape[1])
    overlaps = [len(set(a[:top]) & set(b[:top])) / top for a, b in zip(order, before, strict=True)]
    return RankChange(
        name=name,
        queries=len(got),
        items=got.shape[1],
        before=tuple(float((ranks_before < k).mean() * 100) for k in DEPTHS),
        after=tuple(float((ranks_after < k).mean() * 100) for k in DEPTHS),
        moved=float((ranks_after != ranks_before).mean()),
        mean_move=float(np.abs(ranks_after - ranks_before).mean()),
        top_overlap=float(np.mean(overlaps)),
        same_order=float((swaps(got, reference).max(axis=1) <= EQUAL).mean()),
    )


def swaps(got: NDArray[np.floating], reference: NDArray[np.floating]) -> NDArray[np.floating]:
    """By how much the reference's scores rise where they should fall, ``[queries, items]``.

    Read in the order of ``got``, the reference's scores should only fall; where one rises above
    the lowest before it, two items have changed places.
    """
    order = np.argsort(-got, axis=1, kind="stable")
    ordered = np.take_along_axis(reference, order, axis=1)
    rises: NDArray[np.floating] = ordered - np.minimum.accumulate(ordered, axis=1)
    return rises


def _ranks(scores: NDArray[np.float32], truth: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Rank from 0 of the best right item of each query; equal scores do not push it down."""
    best = np.where(truth, scores, -np.inf).max(axis=1, keepdims=True)
    ranks: NDArray[np.int64] = (scores > best + EQUAL).sum(axis=1)
    return ranks
