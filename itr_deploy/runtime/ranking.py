"""Choosing the best of many scores, ties always the same way."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def best(
    scores: NDArray[np.floating], k: int, tie_order: NDArray[np.int64] | NDArray[np.str_]
) -> NDArray[np.int64]:
    """Places of the ``k`` highest scores, best first; equal scores by ``tie_order``, lowest first.

    Args:
        scores: ``[N]``.
        k: How many; all if it is larger than N.
        tie_order: ``[N]``, distinct.

    Returns:
        ``int64 [min(k, N)]``.
    """
    places = np.arange(len(scores))
    if k < len(scores):
        least = np.partition(scores, len(scores) - k)[len(scores) - k]
        # Everything tied with the last one stays in until the ties are put in order.
        places = np.flatnonzero(scores >= least)
    order = np.lexsort((tie_order[places], -scores[places]))
    return places[order[:k]]
