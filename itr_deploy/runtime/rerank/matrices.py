"""A re-ranker's inputs from whole similarity matrices, where the queries are the bank's items."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from itr_deploy.runtime.rerank.affinities import affinities
from itr_deploy.runtime.rerank.edges import edges

Floats = NDArray[np.floating]
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Shape:
    """The sizes of one direction: K rows, L pillars, C neighbours, and the edges' threshold."""

    rows: int
    pillars: int
    neighbours: int
    threshold: float


@dataclass(frozen=True)
class Inputs:
    """What a re-ranker takes of some queries.

    Attributes:
        shortlist: ``int64 [q, K - 1]``, the items that are re-scored, best first.
        affinities: ``float32 [q, K, 2L]``.
        edges: ``float32 [q, K, K]``.
    """

    shortlist: Rows
    affinities: NDArray[np.float32]
    edges: NDArray[np.float32]


class SimilarityMatrices:
    """All similarities of a data set in one direction, as the published evaluation has them.

    Of equal similarities the one with the lower row number comes first; an item is its own
    nearest whatever the matrix says.
    """

    def __init__(self, phi: Floats, query_pi: Floats, item_pi: Floats, shape: Shape) -> None:
        """Take the matrices.

        Args:
            phi: ``[Q, N]``, of queries and items.
            query_pi: ``[Q, Q]``.
            item_pi: ``[N, N]``.
            shape: The direction's sizes; Q is at least L and C, N at least K - 1, L - 1 and C.
        """
        self.phi, self._query_pi, self._item_pi, self.shape = phi, query_pi, item_pi, shape

    @property
    def queries(self) -> int:
        """Number of queries."""
        return len(self.phi)

    def inputs(self, queries: Rows) -> Inputs:
        """The inputs of the queries at these rows."""
        shape, phi = self.shape, self.phi
        others, pillars = shape.rows - 1, shape.pillars - 1
        ranked = top(phi[queries], max(others, pillars, shape.neighbours))
        nearest = self._nearest_queries[queries]
        shortlist, bank = ranked[:, :others], nearest[:, 1 : shape.pillars]
        made = affinities(
            np.take_along_axis(phi[queries], ranked, axis=1),
            self._query_pi[queries, queries],
            np.take_along_axis(self._query_pi[queries], bank, axis=1),
            self._item_pi[shortlist[:, :, None], ranked[:, None, :pillars]],
            phi[bank[:, :, None], shortlist[:, None, :]],
        )
        count = shape.neighbours
        item_lists = (ranked[:, None, :count], self._nearest_items[shortlist])
        bank_lists = (nearest[:, None, :count], self._queries_of_items[shortlist])
        between = edges(
            np.concatenate(item_lists, axis=1),
            np.concatenate(bank_lists, axis=1),
            shape.threshold,
        )
        return Inputs(shortlist, made, between)

    @cached_property
    def _nearest_queries(self) -> Rows:
        count = max(self.shape.pillars, self.shape.neighbours)
        return _own_first(self._query_pi, count)

    @cached_property
    def _nearest_items(self) -> Rows:
        return _own_first(self._item_pi, self.shape.neighbours)

    @cached_property
    def _queries_of_items(self) -> Rows:
        return top(self.phi.T, self.shape.neighbours)


def top(similarities: Floats, count: int) -> Rows:
    """Places of the ``count`` largest of every row, largest first, ``int64 [n, count]``."""
    return np.argsort(-similarities, axis=1, kind="stable")[:, :count]


def _own_first(similarities: Floats, count: int) -> Rows:
    own = np.array(similarities)
    np.fill_diagonal(own, np.inf)
    return top(own, count)
