"""Scoring queries that each have their own items, of different numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from itr_deploy.runtime.encoding.encoded import Encoded
from itr_deploy.runtime.scorer import Scorer


def score_ragged(
    scorer: Scorer, queries: Encoded, items: Encoded, places: Sequence[NDArray[np.int64]]
) -> list[NDArray[np.float32]]:
    """Score each query with its own items.

    Args:
        scorer: Scores pairs.
        queries: Q encoded queries.
        items: Encoded items of the other modality.
        places: For every query ``int64 [n]``, the places of its items; there may be none.

    Returns:
        For every query ``float32 [n]``.
    """
    asking = [number for number, own in enumerate(places) if len(own)]
    scores = [np.empty(0, np.float32)] * len(places)
    if not asking:
        return scores
    width = max(len(own) for own in places)
    # Rows are filled up with items of their own, which are scored anyhow.
    filled = np.stack([np.resize(places[query], width) for query in asking])
    chosen = queries if len(asking) == len(queries) else queries.take(np.array(asking))
    found = scorer.score_candidates(chosen, items, filled)
    for query, row in zip(asking, found, strict=True):
        scores[query] = row[: len(places[query])]
    return scores
