"""All similarities of a gallery and a bank that a re-ranker reads, each from its own source."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from itr_deploy.bundle.manifest import Pipeline, Reranker
from itr_deploy.errors import GalleryError, InputError
from itr_deploy.runtime.rerank.lists import BankLists, SearchedBankLists
from itr_deploy.runtime.rerank.neighbours import ListedSimilarity, NeighbourLists
from itr_deploy.runtime.rerank.pooled import PooledSimilarity
from itr_deploy.runtime.rerank.store import CrossScoreStore, has_store, open_store
from itr_deploy.runtime.scorer import Scorer
from itr_deploy.runtime.search.searcher import Searcher

Rows = NDArray[np.int64]
Floats = NDArray[np.float32]

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class QueryPillars:
    """A query among the items of the bank.

    Attributes:
        same: The bank row that is the query, or -1.
        own: The query's similarity to itself.
        rows: ``[max(L, C) - 1]``, the bank items nearest to the query, itself left out.
        similarities: ``float32``, the similarities of ``rows``.
    """

    same: int
    own: float
    rows: Rows
    similarities: Floats


class Neighbourhood:
    """One version of a gallery and one of a bank. Safe to use from several threads."""

    def __init__(
        self,
        record: Reranker,
        scorer: Scorer,
        gallery: Searcher,
        bank: Searcher,
        gallery_lists: NeighbourLists | None,
        bank_lists: NeighbourLists | None,
    ) -> None:
        """Check that the bank is large enough, and open the cross-score store if it matches.

        Raises:
            GalleryError: The bank is smaller than the re-ranker's inputs.
            InputError: Neighbour lists do not cover a gallery.
        """
        self.gallery, self.bank = gallery, bank
        self._near = max(record.pillars, record.neighbours) - 1
        self._scorer = scorer
        depth = record.neighbours + 1
        needed, held = max(self._near + 1, depth), len(bank.vectors.ids)
        if held < needed:
            raise GalleryError(
                f"{bank.gallery.path}: {held} items; a bank for this re-ranker needs at least "
                f"{needed}, as its number of pillars is fixed"
            )
        pooled = PooledSimilarity(gallery.vectors.ids, gallery.vectors.embedding)
        listed = _listed(gallery_lists, gallery)
        self.gallery_similarity: PooledSimilarity | ListedSimilarity = (
            pooled if listed is None else listed
        )
        self._bank_pooled = PooledSimilarity(bank.vectors.ids, bank.vectors.embedding)
        self._bank_listed = _listed(bank_lists, bank)
        self._gallery_is_listed = listed is not None
        self._bank_rows = {name: row for row, name in enumerate(bank.vectors.ids.tolist())}
        self.rows = {name: row for row, name in enumerate(gallery.vectors.ids.tolist())}
        self._searched = SearchedBankLists(gallery, bank, depth)
        self.store = _store(gallery, bank, depth)

    def bank_lists(self, items: Rows, pipeline: Pipeline | None) -> BankLists:
        """The bank items that the matcher scores highest for some items of the gallery.

        Without a store, the bank is searched with the shortlist widths of ``pipeline``.
        """
        if self.store is not None:
            return self.store.lists.take(items)
        return self._searched.take(items, pipeline)

    def pillar_scores(self, pillars: Rows, shortlist: Rows) -> Floats:
        """The matcher's scores of bank items with gallery items, ``[L - 1, K - 1]``."""
        if self.store is not None and self.store.cross_scores is not None:
            return np.asarray(self.store.cross_scores[shortlist[:, None], pillars[None, :]]).T
        queries = self.bank.encoded(pillars).stored_as("float32")
        return self._scorer.score_all(queries, self.gallery.encoded(shortlist))

    def pillars(self, embedding: Floats, given: tuple[list[str], Floats] | None) -> QueryPillars:
        """The bank items nearest to a query.

        Args:
            embedding: ``[E]``, the query's pooled embedding.
            given: Ids of its neighbours and their similarities, if the user gives them.

        Raises:
            InputError: Similarity is by neighbour lists, and the query's are missing, too short or
                name items that are not in the bank.
        """
        count = self._near
        same = self._bank_pooled.same(embedding)
        if given is not None:
            return self._from_ids(same, *given)
        if self._bank_listed is None and not self._gallery_is_listed:
            return QueryPillars(same, 1.0, *self._bank_pooled.nearest(embedding, count, same))
        if same < 0 or self._bank_listed is None:
            raise InputError(
                "similarity within a modality is by neighbour lists here, and there is none for "
                "a query that is no item of the bank; give query_neighbours= with the search"
            )
        rows = self._bank_listed.lists(np.array([same]), count + 1)[0]
        values = self._bank_listed.similarities(same, count + 1)
        if len(values) <= count or rows.min() < 0:
            raise InputError(
                f"the neighbour list of {self.bank.vectors.ids[same]!r} names "
                f"{(rows >= 0).sum() - 1} other items of the bank; {count} are needed"
            )
        return QueryPillars(same, float(values[0]), rows[1:], values[1:])

    def _from_ids(self, same: int, names: list[str], similarities: Floats) -> QueryPillars:
        rows = [self._bank_rows.get(name, -1) for name in names]
        if -1 in rows:
            raise InputError(f"query_neighbours= names {names[rows.index(-1)]!r}, not in the bank")
        keep = [place for place, row in enumerate(rows) if row != same][: self._near]
        if len(keep) < self._near:
            raise InputError(
                f"query_neighbours= names {len(keep)} items of the bank besides the query; "
                f"{self._near} are needed"
            )
        chosen = np.array(rows)[keep]
        return QueryPillars(same, 1.0, chosen, similarities[keep])


def _listed(lists: NeighbourLists | None, searcher: Searcher) -> ListedSimilarity | None:
    return None if lists is None else ListedSimilarity(lists, searcher.vectors.ids)


def _store(gallery: Searcher, bank: Searcher, depth: int) -> CrossScoreStore | None:
    if not has_store(gallery.gallery):
        return None
    try:
        store = open_store(gallery, bank, depth)
    except GalleryError as error:
        log.warning("not used, scores are computed instead: %s", error)
        return None
    log.info("%s: cross scores with %s are stored", gallery.gallery.path, bank.gallery.path)
    return store
