"""The bank items that the matcher scores highest for gallery items, and the query among them."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from itr_deploy.bundle.manifest import Pipeline
from itr_deploy.runtime.search.searcher import Searcher

Rows = NDArray[np.int64]
UNKNOWN = -2


@dataclass(frozen=True, eq=False)
class BankLists:
    """Best bank items, best first: their rows ``[n, depth]`` and scores ``float32 [n, depth]``."""

    rows: Rows
    scores: NDArray[np.float32]

    def take(self, items: Rows) -> BankLists:
        """The lists of some items."""
        return BankLists(self.rows[items], self.scores[items])

    def with_query(self, cross_scores: NDArray[np.float32], same: int, number: int) -> Rows:
        """The lists as they would be if the query were an item of the bank.

        A re-ranker is trained on queries that are items of the bank. So a query takes the place in
        the lists that its own score earns, whether or not it is in the bank. On equal scores the
        bank's item stays.

        Args:
            cross_scores: ``[n]``, the matcher's score of the query with each list's item.
            same: The bank row that is the query, or -1.
            number: Stands for the query in the lists; not a row of the bank.

        Returns:
            ``int64 [n, depth - 1]``.
        """
        others = np.argsort(self.rows == same, axis=1, kind="stable")[:, :-1]
        rows = np.take_along_axis(self.rows, others, axis=1)
        scores = np.take_along_axis(self.scores, others, axis=1)
        rows[:, -1] = np.where(cross_scores > scores[:, -1], number, rows[:, -1])
        return rows


def searched_lists(
    gallery: Searcher, rows: Rows, bank: Searcher, depth: int, pipeline: Pipeline | None
) -> BankLists:
    """Search the bank with items of the gallery.

    Args:
        gallery: Holds the items.
        rows: ``[n]``, the items' rows, each at most once.
        bank: The bank to search; it has at least ``depth`` items.
        depth: Length of the lists.
        pipeline: How wide the shortlists are, None to score every bank item.
    """
    queries = gallery.encoded(rows).stored_as("float32")
    candidates = prefilter = refine = None
    if pipeline is not None:
        candidates = pipeline.width_for(queries.modality, depth)
        prefilter = pipeline.prefilter_width(queries.modality)
        refine = pipeline.refine_width(queries.modality)
    found = bank.search(queries, depth, candidates, None, prefilter, refine)
    ids = bank.vectors.ids
    order = np.argsort(ids)
    names = np.array([hits.ids for hits in found])
    places = order[np.searchsorted(ids, names, sorter=order)]
    return BankLists(places, np.stack([hits.scores for hits in found]))


class SearchedBankLists:
    """The results of `searched_lists`, cached by item. Safe to use from several threads."""

    def __init__(self, gallery: Searcher, bank: Searcher, depth: int) -> None:
        """Set up lists of ``depth`` bank items; the bank is searched on demand."""
        self._gallery, self._bank, self._depth = gallery, bank, depth
        self._lock = threading.Lock()
        self._pipeline: Pipeline | None = None
        self._known: BankLists | None = None

    def take(self, items: Rows, pipeline: Pipeline | None) -> BankLists:
        """The lists of some items, searched with the shortlist widths of ``pipeline``."""
        with self._lock:
            known = self._by(pipeline)
            missing = np.unique(items[known.rows[items, 0] == UNKNOWN])
        if missing.size:
            # Two threads may search for the same items; they find the same lists.
            found = searched_lists(self._gallery, missing, self._bank, self._depth, pipeline)
            with self._lock:
                known.rows[missing], known.scores[missing] = found.rows, found.scores
        with self._lock:
            return known.take(items)

    def _by(self, pipeline: Pipeline | None) -> BankLists:
        if self._known is None or self._pipeline != pipeline:
            shape = (len(self._gallery.vectors.ids), self._depth)
            self._known = BankLists(np.full(shape, UNKNOWN), np.empty(shape, np.float32))
            self._pipeline = pipeline
        return self._known
