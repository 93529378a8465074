"""Choosing the best of many scores; ties are always broken the same way."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

ROUNDING = 2e-6
"""Scores ``a`` and ``b`` closer than ``ROUNDING * (1 + |a|)`` count as equal: an item's score
varies by a fraction of that with its place in a tile, as matrix products sum in another order."""

TieOrder: TypeAlias = "NDArray[np.int64] | NDArray[np.str_]"


def best(
    scores: NDArray[np.float32],
    k: int,
    tie_order: TieOrder,
    rows: NDArray[np.int64] | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The ``k`` highest scores, best first; equal scores by ``tie_order``, lowest first.

    Args:
        scores: ``[N]``.
        k: How many; all if it is larger than N.
        tie_order: ``[N]``, distinct.
        rows: ``int64 [N]``, the places of the scored in ``tie_order`` if that is of more than
            these.

    Returns:
        Places ``int64 [min(k, N)]`` and their scores; equal scores are set to the highest of them.
    """
    places = contenders(scores, k)
    places = places[np.argsort(-scores[places], kind="stable")]
    settled = _settle(scores[places])
    ties = tie_order[places if rows is None else rows[places]]
    order = np.lexsort((ties, -settled))[:k]
    return places[order], settled[order]


def contenders(scores: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """Those that `best` may choose of these, also where they are ranked together with others.

    So the best of several sets of items are the best of the sets' contenders, with the same scores
    and ties.

    Args:
        scores: ``[N]``.
        k: How many are to be chosen, at least 1.

    Returns:
        Places ``int64``, rising: the ``k`` highest and everything that ties with the last of them.
    """
    if k >= len(scores):
        return np.arange(len(scores))
    least = np.partition(scores, len(scores) - k)[len(scores) - k]
    return np.flatnonzero(scores >= least - ROUNDING * (1 + abs(least)))


def best_rows(
    scores: NDArray[np.float32], rows: NDArray[np.int64], k: int, tie_order: TieOrder
) -> NDArray[np.int64]:
    """Each query's best among its own rows, in the order of `best`.

    Args:
        scores: ``[Q, N]``.
        rows: The rows that were scored, ``[Q, N]``.
        k: How many, no more than N.
        tie_order: Of all rows, by row; distinct.

    Returns:
        ``int64 [Q, k]``, chosen from ``rows``.
    """
    found = [best(row, k, tie_order, own)[0] for row, own in zip(scores, rows, strict=True)]
    return np.take_along_axis(rows, np.stack(found), axis=1)


def best_places(
    scores: NDArray[np.float32], k: int, tie_order: NDArray[np.str_]
) -> NDArray[np.int64]:
    """Places ``int64 [Q, k]`` of each query's best of ``[Q, N]``, in the order of `best`.

    ``tie_order`` is ``[Q, N]``, distinct within a query.
    """
    return np.stack([best(row, k, own)[0] for row, own in zip(scores, tie_order, strict=True)])


def _settle(falling: NDArray[np.float32]) -> NDArray[np.float32]:
    """Set each run of equal scores to its first; a run spans no more than the rounding.

    The scores are in descending order.
    """
    reach = ROUNDING * (1 + np.abs(falling))
    near = np.flatnonzero(falling[:-1] - falling[1:] <= reach[:-1])
    settled, rising, end = falling.copy(), -falling, 0
    for start in near:
        if start >= end:
            end = int(np.searchsorted(rising, rising[start] + reach[start], side="right"))
            settled[start:end] = falling[start]
    return settled
