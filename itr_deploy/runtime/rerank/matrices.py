"""A re-ranker's inputs for a whole data set, where the queries are the bank's items."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from itr_deploy.runtime.rerank.affinities import affinities
from itr_deploy.runtime.rerank.edges import edges

Floats = NDArray[np.floating]
Rows = NDArray[np.int64]

BLOCK = 256
"""Rows of a matrix that are sorted at once."""


@dataclass(frozen=True)
class Shape:
    """The sizes of one direction: K rows, L pillars, C neighbours, and the edges' threshold."""

    rows: int
    pillars: int
    neighbours: int
    threshold: float


@dataclass(frozen=True, eq=False)
class Inputs:
    """A re-ranker's inputs for some queries.

    Attributes:
        shortlist: ``int64 [q, K - 1]``, the items to re-score, best first.
        affinities: ``float32 [q, K, 2L]``.
        edges: ``float32 [q, K, K]``.
    """

    shortlist: Rows
    affinities: NDArray[np.float32]
    edges: NDArray[np.float32]


class IntraSimilarity(Protocol):
    """Similarity within one modality, by row numbers."""

    def lists(self, rows: Rows, count: int) -> Rows:
        """The nearest items of each, itself first: ``[n] -> [n, count]``."""
        ...

    def between(self, rows: Rows, others: Rows) -> NDArray[np.float32]:
        """Similarities of every two items: ``[Q, a], [Q, b] -> [Q, a, b]``."""
        ...


class MatrixSimilarity:
    """Similarities given as a matrix ``[N, N]``.

    On ties the lower row comes first; an item is its own nearest whatever the matrix says.
    """

    def __init__(self, similarities: Floats) -> None:
        self._similarities = similarities

    def lists(self, rows: Rows, count: int) -> Rows:
        """The nearest items of each, itself first: ``[n] -> [n, count]``."""
        own = np.array(self._similarities[rows])
        own[np.arange(len(rows)), rows] = np.inf
        return top(own, count)

    def between(self, rows: Rows, others: Rows) -> NDArray[np.float32]:
        """Similarities of every two items: ``[Q, a], [Q, b] -> [Q, a, b]``."""
        found = self._similarities[rows[:, :, None], others[:, None, :]]
        return found.astype(np.float32)


class SimilarityMatrices:
    """All similarities of a data set in one direction, as in the published evaluation.

    On ties the lower row comes first.
    """

    def __init__(
        self,
        cross_scores: Floats,
        query_similarity: IntraSimilarity,
        item_similarity: IntraSimilarity,
        shape: Shape,
    ) -> None:
        """Set up the inputs; whole matrices are sorted when they are first needed.

        Args:
            cross_scores: ``[Q, N]``, queries with items, in memory or mapped.
            query_similarity: Similarity among the Q queries.
            item_similarity: Similarity among the N items.
            shape: The direction's sizes; Q is at least L and C, N at least K - 1, L - 1 and C.
        """
        self.cross_scores, self.shape = cross_scores, shape
        self._query_similarity, self._item_similarity = query_similarity, item_similarity

    @property
    def queries(self) -> int:
        """Number of queries."""
        return len(self.cross_scores)

    def inputs(self, queries: Rows) -> Inputs:
        """The inputs of the queries at these rows."""
        shape, own = self.shape, queries[:, None]
        others, pillars, count = shape.rows - 1, shape.pillars - 1, shape.neighbours
        cross_scores = self.cross_scores[queries]
        ranked = top(cross_scores, max(others, pillars, count))
        nearest = self._query_similarity.lists(queries, max(shape.pillars, count))
        shortlist, bank = ranked[:, :others], nearest[:, 1 : shape.pillars]
        made = affinities(
            np.take_along_axis(cross_scores, ranked, axis=1),
            self._query_similarity.between(own, own)[:, 0, 0],
            self._query_similarity.between(own, bank)[:, 0],
            self._item_similarity.between(shortlist, ranked[:, :pillars]),
            self.cross_scores[bank[:, :, None], shortlist[:, None, :]],
        )
        item_lists = (ranked[:, None, :count], self._nearest_items[shortlist])
        bank_lists = (nearest[:, None, :count], self._queries_of_items[shortlist])
        between = edges(
            np.concatenate(item_lists, axis=1),
            np.concatenate(bank_lists, axis=1),
            shape.threshold,
        )
        return Inputs(shortlist, made, between)

    @cached_property
    def _nearest_items(self) -> Rows:
        return self._item_similarity.lists(
            np.arange(self.cross_scores.shape[1]), self.shape.neighbours
        )

    @cached_property
    def _queries_of_items(self) -> Rows:
        return top(self.cross_scores.T, self.shape.neighbours)


def top(similarities: Floats, count: int) -> Rows:
    """Places of the ``count`` largest of every row, largest first, ``int64 [n, count]``."""
    parts = [
        # A copy: a view would keep the whole block's places in memory.
        np.argsort(-similarities[start : start + BLOCK], axis=1, kind="stable")[:, :count].copy()
        for start in range(0, len(similarities), BLOCK)
    ]
    return np.concatenate(parts) if parts else np.empty((0, count), np.int64)
