"""Coarse shortlists: items whose coarse embeddings have the largest products with a query's."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from itr_deploy.runtime.gallery.read import Vectors
from itr_deploy.runtime.product_scorer import COPIED
from itr_deploy.runtime.products import product
from itr_deploy.runtime.ranking import best


class CoarseVectors:
    """Every item's coarse embedding in memory: shortlists are exact, by one matrix product."""

    def __init__(self, vectors: Vectors, there: NDArray[np.bool_] | None = None) -> None:
        """Store the vectors; items that tie are ordered by id.

        Args:
            vectors: Ids and embeddings.
            there: ``bool [N]``, False for items that are in no shortlist, None if all may be.
        """
        self.vectors = vectors
        self._gone = None if there is None else np.flatnonzero(~there)

    def nearest(
        self, queries: NDArray[np.float32], width: int, allowed: NDArray[np.int64] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The shortlist of every query, best first.

        Args:
            queries: ``[Q, E]``.
            width: Items per shortlist, no more than there are.
            allowed: Places of the items that take part, rising, None for all that are there.

        Returns:
            Places ``int64 [Q, width]`` and their products ``float32 [Q, width]``.
        """
        vectors, ties = self.vectors.embedding, self.vectors.ids
        if allowed is None or len(allowed) > len(vectors) // COPIED:
            # A copy of most of the vectors would take longer than the products of all.
            products = product(queries, vectors)
            if allowed is None:
                rows = None
                if self._gone is not None:
                    products[:, self._gone] = -np.inf
            else:
                rows, products = allowed, products[:, allowed]
        else:
            rows, products = allowed, product(queries, vectors[allowed])
        found = [best(row, width, ties, rows) for row in products]
        places = np.stack([own for own, _ in found])
        return places if rows is None else rows[places], np.stack([own for _, own in found])
