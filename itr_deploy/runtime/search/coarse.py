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
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The shortlist of every query, best first.

        Args:
            queries: ``[Q, E]``.
            width: Items per shortlist, no more than there are.
            allowed: Places of the items that take part, None for all.

        Returns:
            Places ``int64 [Q, width]`` and their products ``float32 [Q, width]``.
        """
        vectors, ties = self.vectors.embedding, self.tie_order
        if allowed is None or len(allowed) == len(vectors):
            allowed = None
        else:
            vectors, ties = vectors[allowed], ties[allowed]
        found = [best(row, width, ties) for row in product(queries, vectors)]
        places = np.stack([own for own, _ in found])
        return places if allowed is None else allowed[places], np.stack([own for _, own in found])
