"""Coarse shortlists: items whose coarse embeddings have the largest products with a query's."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from itr_deploy.runtime.gallery.read import Vectors
from itr_deploy.runtime.product_scorer import COPIED
from itr_deploy.runtime.products import product
from itr_deploy.runtime.ranking import best, contenders


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
        rows, products = self._products(queries, allowed)
        found = [best(row, width, self.vectors.ids, rows) for row in products]
        places = np.stack([own for own, _ in found])
        return places if rows is None else rows[places], np.stack([own for _, own in found])

    def contenders(
        self, queries: NDArray[np.float32], width: int, allowed: NDArray[np.int64] | None = None
    ) -> list[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """Every query's items that may be in a shortlist of these and other items.

        Args:
            queries: ``[Q, E]``.
            width: Items per shortlist; all if there are fewer here.
            allowed: As for `nearest`.

        Returns:
            For every query places ``int64``, rising, and their products ``float32``.
        """
        rows, products = self._products(queries, allowed)
        gone = 0 if rows is not None or self._gone is None else len(self._gone)
        width = min(width, products.shape[1] - gone)
        if not width:
            return [(np.empty(0, np.int64), np.empty(0, np.float32))] * len(queries)
        found = [contenders(row, width) for row in products]
        return [
            (own if rows is None else rows[own], row[own])
            for own, row in zip(found, products, strict=True)
        ]

    def _products(
        self, queries: NDArray[np.float32], allowed: NDArray[np.int64] | None
    ) -> tuple[NDArray[np.int64] | None, NDArray[np.float32]]:
        """The products with the items that take part, and their places; None for all."""
        vectors = self.vectors.embedding
        if allowed is not None and len(allowed) <= len(vectors) // COPIED:
            return allowed, product(queries, vectors[allowed])
        # A copy of most of the vectors would take longer than the products of all.
        products = product(queries, vectors)
        if allowed is not None:
            return allowed, products[:, allowed]
        if self._gone is not None:
            products[:, self._gone] = -np.inf
        return None, products
