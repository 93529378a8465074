"""Coarse shortlists: items whose coarse embeddings have the largest products with a query's."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from itr_deploy.runtime.gallery.read import Vectors
from itr_deploy.runtime.products import product
from itr_deploy.runtime.ranking import best


class CoarseVectors:
    """Every item's coarse embedding in memory: shortlists are exact, by one matrix product."""

    def __init__(self, vectors: Vectors) -> None:
        """Store the vectors; items that tie are ordered by id."""
        self.vectors = vectors
        self.tie_order: NDArray[np.int64] = np.argsort(np.argsort(vectors.ids, kind="stable"))

    def nearest(
        self, queries: NDArray[np.float32], width: int, allowed: NDArray[np.int64] | None = None
    ) -> NDArray[np.int64]:
        """The shortlist of every query, best first.

        Args:
            queries: ``[Q, E]``.
            width: Items per shortlist, no more than there are.
            allowed: Places of the items that take part, None for all.

        Returns:
            Places ``int64 [Q, width]``.
        """
        vectors = self.vectors.embedding
        if allowed is None or len(allowed) == len(vectors):
            coarse = product(queries, vectors)
            return np.stack([best(row, width, self.tie_order)[0] for row in coarse])
        coarse, ties = product(queries, vectors[allowed]), self.tie_order[allowed]
        return np.stack([allowed[best(row, width, ties)[0]] for row in coarse])
