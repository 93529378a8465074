"""How differently two score matrices rank the same data."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from itr_deploy.bundle.modality import direction_title
from itr_deploy.evaluation.data.answers import Answers
from itr_deploy.evaluation.measures.recall import CUTOFFS, ranks, recall_curve
from itr_deploy.runtime.ranking import ROUNDING

TOP = 10
"""Depth at which rankings are compared."""


@dataclass(frozen=True)
class RankChange:
    """One direction's rankings before and after a change of the model.

    Attributes:
        name: The direction.
        queries: Number of rankings.
        items: Items in each.
        before: Recall at 1, 5 and 10 before, in percent.
        after: The same after.
        moved: Share of the queries whose right item has a different rank.
        mean_move: Mean distance that it moved, in ranks.
        top_overlap: Mean share of the top 10 before that is in the top 10 after.
        same_order: Share of the rankings that are equal, except for items with equal scores.
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
    got: NDArray[np.float32], reference: NDArray[np.float32], answers: Answers | int
) -> tuple[RankChange, RankChange]:
    """Changes in both directions of ``[images, texts]``.

    ``answers`` says which texts belong to which image, or how many consecutive ones each has.
    """
    after, before = ranks(got, answers), ranks(reference, answers)
    return (
        _change(
            direction_title("text"), got.T, reference.T, after.text_to_image, before.text_to_image
        ),
        _change(
            direction_title("image"), got, reference, after.image_to_text, before.image_to_text
        ),
    )


def _change(
    name: str,
    got: NDArray[np.float32],
    reference: NDArray[np.float32],
    after: NDArray[np.int64],
    before: NDArray[np.int64],
) -> RankChange:
    asked = before > 0
    got, reference = got[asked], reference[asked]
    after, before = after[asked], before[asked]
    return RankChange(
        name=name,
        queries=len(got),
        items=got.shape[1],
        before=tuple(recall_curve(before, CUTOFFS)),
        after=tuple(recall_curve(after, CUTOFFS)),
        moved=float((after != before).mean()),
        mean_move=float(np.abs(after - before).mean()),
        top_overlap=top_overlap(got, reference),
        same_order=float((swaps(got, reference).max(axis=1) <= ROUNDING).mean()),
    )


def top_overlap(got: NDArray[np.floating], reference: NDArray[np.floating]) -> float:
    """Mean share of the reference's top 10 that ``got``'s holds, both ``[queries, items]``."""
    top = min(TOP, got.shape[1])
    orders = (np.argsort(-scores, axis=1, kind="stable")[:, :top] for scores in (got, reference))
    return float(np.mean([len(set(a) & set(b)) / top for a, b in zip(*orders, strict=True)]))


def swaps(got: NDArray[np.floating], reference: NDArray[np.floating]) -> NDArray[np.floating]:
    """By how much the reference's scores rise where they should fall, ``[queries, items]``.

    In the order of ``got``, the reference's scores should only fall. If one rises above the lowest
    before it, two items have changed places.
    """
    order = np.argsort(-got, axis=1, kind="stable")
    ordered = np.take_along_axis(reference, order, axis=1)
    rises: NDArray[np.floating] = ordered - np.minimum.accumulate(ordered, axis=1)
    return rises
