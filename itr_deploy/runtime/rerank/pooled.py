"""Similarity within a modality as the cosine of the pooled embeddings."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from itr_deploy.runtime.products import of_one
from itr_deploy.runtime.ranking import best

Rows = NDArray[np.int64]
Vectors = NDArray[np.float32]

SAME = 1e-5
"""Unit vectors that differ by no more than this in any place are one item, encoded twice."""

NOT_A_COSINE = -2.0


class PooledSimilarity:
    """Cosines between the items of one gallery. On ties the lower id comes first."""

    def __init__(self, ids: NDArray[np.str_], embedding: Vectors) -> None:
        """Scale the embeddings ``[N, E]`` of items with these ids ``[N]`` to length 1."""
        self._units = unit(embedding)
        self._tie_order = np.argsort(np.argsort(ids, kind="stable"))

    def lists(self, rows: Rows, count: int) -> Rows:
        """The nearest items of each, itself first: ``[n] -> [n, count]``."""
        found = np.empty((len(rows), count), np.int64)
        found[:, 0] = rows
        for place, row in enumerate(rows):
            found[place, 1:], _ = self._best(self._units[row], count - 1, int(row))
        return found

    def between(self, rows: Rows, others: Rows) -> Vectors:
        """Similarities of every two items: ``[Q, a], [Q, b] -> [Q, a, b]``."""
        return self._units[rows] @ self._units[others].transpose(0, 2, 1)

    def same(self, query: Vectors) -> int:
        """The row of the item that is the query ``[E]``, or -1 if there is none.

        Copies of one item have equal similarities, so the first by id stands for the query.
        """
        vector = unit(query[None])[0]
        near = np.flatnonzero(of_one(vector, self._units) >= 1 - SAME)
        equal = near[np.abs(self._units[near] - vector).max(axis=1, initial=0) <= SAME]
        return int(equal[np.argmin(self._tie_order[equal])]) if equal.size else -1

    def nearest(self, query: Vectors, count: int, without: int) -> tuple[Rows, Vectors]:
        """The items nearest to a query ``[E]``, except one row: rows and cosines ``[count]``."""
        return self._best(unit(query[None])[0], count, without)

    def _best(self, vector: Vectors, count: int, without: int) -> tuple[Rows, Vectors]:
        cosines = of_one(vector, self._units)
        if without >= 0:
            cosines[without] = NOT_A_COSINE
        return best(cosines, count, self._tie_order)


def unit(vectors: Vectors) -> Vectors:
    """Vectors ``[N, E]`` scaled to length 1."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: Vectors = vectors / np.maximum(lengths, 1e-12)
    return scaled
