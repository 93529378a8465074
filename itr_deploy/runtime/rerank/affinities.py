"""The affinities of a query and its candidates to the pillars: a re-ranker's first input."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]


def affinities(
    ranked_scores: Floats,
    own_similarity: Floats,
    query_similarities: Floats,
    shortlist_similarities: Floats,
    pillar_scores: Floats,
) -> NDArray[np.float32]:
    """Put similarities in the order that the network was trained on.

    Scores are the matcher's, between a query and an item; similarities are within a modality. A
    query's pillars are its L - 1 best candidates (the inter block) and the L - 1 bank items nearest
    to it (the intra block), in rank order; column 0 of both blocks is the query itself.

    Args:
        ranked_scores: ``[Q, n]``, the query with its best candidates; n at least K - 1 and L - 1.
        own_similarity: ``[Q]``, the query with itself.
        query_similarities: ``[Q, L - 1]``, the query with its bank pillars.
        shortlist_similarities: ``[Q, K - 1, L - 1]``, the shortlist with the L - 1 best candidates.
        pillar_scores: ``[Q, L - 1, K - 1]``, the bank pillars with the shortlist.

    Returns:
        ``float32 [Q, K, 2L]``, the query's row first.
    """
    queries, others, pillars = shortlist_similarities.shape
    rows, width = others + 1, pillars + 1
    made = np.empty((queries, rows, 2, width), np.float32)
    made[:, 0, :, 0] = own_similarity[:, None]
    made[:, 0, 0, 1:] = ranked_scores[:, :pillars]
    made[:, 0, 1, 1:] = query_similarities
    made[:, 1:, :, 0] = ranked_scores[:, :others, None]
    made[:, 1:, 0, 1:] = shortlist_similarities
    made[:, 1:, 1, 1:] = pillar_scores.transpose(0, 2, 1)
    return made.reshape(queries, rows, 2 * width)
