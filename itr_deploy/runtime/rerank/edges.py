"""The edges between a query and its candidates: a re-ranker's second input."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

ABSENT = -1
"""Pads neighbour lists that are shorter than the others; never counts as an overlap."""


def edges(
    item_lists: NDArray[np.integer], bank_lists: NDArray[np.integer], threshold: float
) -> NDArray[np.float32]:
    """How much the neighbourhoods of a query and its candidates overlap, pair by pair.

    Args:
        item_lists: ``[Q, K, C]``, the nearest gallery items of the query and of its candidates,
            as row numbers, each at most once in a list.
        bank_lists: ``[Q, K, C]``, their nearest bank items.
        threshold: Shares of a row that are not above this become 0; it is less than ``1 / K``, so
            that the largest share stays.

    Returns:
        ``float32 [Q, K, K]``; every row adds up to 1.
    """
    counts = (_overlaps(item_lists) + _overlaps(bank_lists)).astype(np.float64)
    shares = counts / counts.sum(axis=2, keepdims=True)
    shares[shares <= threshold] = 0
    kept: NDArray[np.float64] = shares / shares.sum(axis=2, keepdims=True)
    return kept.astype(np.float32)


def _overlaps(lists: NDArray[np.integer]) -> NDArray[np.int64]:
    """Size of the intersection of every two lists of a query, ``[Q, K, K]``."""
    queries, rows, length = lists.shape
    shared = np.zeros((queries, rows, rows), np.int64)
    for place in range(length):
        entry = lists[:, :, place, None, None]
        shared += ((entry == lists[:, None]) & (entry != ABSENT)).sum(axis=3)
    return shared
