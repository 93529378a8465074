"""Shortlist, match and rank over a gallery: in memory, or from disk with the same results."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from itr_deploy.runtime.gallery import Gallery, read
from itr_deploy.runtime.gallery.read import Vectors
from itr_deploy.runtime.hits import Hits
from itr_deploy.runtime.items import Encoded
from itr_deploy.runtime.matching import PairScorer
from itr_deploy.runtime.ranking import ROUNDING, best
from itr_deploy.runtime.stages import each, stage


class Searcher(Protocol):
    """Answers encoded queries from one version of a gallery."""

    gallery: Gallery

    @property
    def vectors(self) -> Vectors:
        """Every item's id and coarse embedding."""
        ...

    def encoded(self, rows: NDArray[np.int64]) -> Encoded:
        """Items by their place in `vectors`, each at most once."""
        ...

    def search(
        self, queries: Encoded, k: int, candidates: int | None, where: str | None
    ) -> list[Hits]:
        """The ``k`` best items of every query.

        Args:
            queries: Encoded, of the other modality than the gallery's.
            k: Hits a query.
            candidates: Width of the coarse shortlist, None to score every item.
            where: SQL over the gallery's columns, or None.
        """
        ...


class ResidentSearcher:
    """All tensors in memory; the coarse shortlist is an exact product."""

    def __init__(self, gallery: Gallery, scorer: PairScorer) -> None:
        """Load the gallery."""
        self.gallery = gallery
        self._scorer = scorer
        items = read.read_all(gallery)
        self._items = replace(items, encoded=scorer.resident(items.encoded))
        ids = self._items.ids
        self._tie_order = np.argsort(np.argsort(ids, kind="stable"))
        self._place = {name: place for place, name in enumerate(ids.tolist())}

    @property
    def vectors(self) -> Vectors:
        """See `Searcher.vectors`."""
        return Vectors(self._items.ids, self._items.encoded.embedding)

    def encoded(self, rows: NDArray[np.int64]) -> Encoded:
        """See `Searcher.encoded`."""
        return self._items.encoded.take(rows)

    def search(
        self, queries: Encoded, k: int, candidates: int | None, where: str | None
    ) -> list[Hits]:
        """See `Searcher.search`."""
        allowed = self._allowed(where)
        width = len(allowed) if candidates is None else max(candidates, k)
        if width >= len(allowed):
            with stage("match"):
                scores = self._scorer.score_all(queries, self._items.encoded, allowed)
            return [self._hits(row, allowed, k) for row in scores]
        with stage("shortlist"):
            shortlist = self._shortlist(queries, allowed, width)
        with stage("match"):
            scores = self._scorer.score_candidates(queries, self._items.encoded, shortlist)
        return [self._hits(row, list_, k) for row, list_ in zip(scores, shortlist, strict=True)]

    def _allowed(self, where: str | None) -> NDArray[np.int64]:
        if where is None:
            return np.arange(len(self._items.ids))
        kept = read.filtered_ids(self.gallery, where)
        return np.array(sorted(self._place[name] for name in kept if name in self._place), np.int64)

    def _shortlist(
        self, queries: Encoded, allowed: NDArray[np.int64], width: int
    ) -> NDArray[np.int64]:
        vectors = self._items.encoded.embedding
        everything = len(allowed) == len(vectors)
        coarse = queries.embedding @ (vectors if everything else vectors[allowed]).T
        ties = self._tie_order[allowed]
        return np.stack([allowed[best(row, width, ties)[0]] for row in coarse])

    def _hits(self, scores: NDArray[np.float32], rows: NDArray[np.int64], k: int) -> Hits:
        top, settled = best(scores, k, self._tie_order[rows])
        chosen = rows[top]
        names = tuple(self._items.ids[chosen].tolist())
        return Hits(names, settled, self._items.describe(chosen))


class DiskSearcher:
    """Tensors stay on disk; a search reads its candidates' rows, or streams all of them."""

    SPARE = 64
    """Rows read beyond the shortlist at first, so that ties at its edge fall as in memory."""

    def __init__(self, gallery: Gallery, scorer: PairScorer, memory_budget: int) -> None:
        """Take the bytes that the rows of one call may use."""
        self.gallery = gallery
        self._scorer = scorer
        items = max(1, gallery.count())
        self._rows_per_read = max(1, memory_budget * items // max(1, read.stored_bytes(gallery)))

    @property
    def vectors(self) -> Vectors:
        """See `Searcher.vectors`."""
        return self._located[0]

    def encoded(self, rows: NDArray[np.int64]) -> Encoded:
        """See `Searcher.encoded`."""
        return read.read_rows(self.gallery, self._located[1][rows]).encoded

    @cached_property
    def _located(self) -> tuple[Vectors, NDArray[np.int64]]:
        return read.read_vectors(self.gallery)

    def search(
        self, queries: Encoded, k: int, candidates: int | None, where: str | None
    ) -> list[Hits]:
        """See `Searcher.search`."""
        if candidates is None or max(candidates, k) >= self.gallery.count(where):
            return self._exhaustive(queries, k, where)
        width = max(candidates, k)
        step = max(1, self._rows_per_read // width)
        return [
            hits
            for start in range(0, len(queries), step)
            for hits in self._shortlisted(queries.take(slice(start, start + step)), k, width, where)
        ]

    def _shortlisted(self, queries: Encoded, k: int, width: int, where: str | None) -> list[Hits]:
        with stage("shortlist"):
            shortlists = [self._nearest(vector, width, where) for vector in queries.embedding]
            union = np.unique(np.concatenate(shortlists))
            places = np.stack([np.searchsorted(union, rows) for rows in shortlists])
        with stage("gather"):
            items = read.read_rows(self.gallery, union)
        with stage("match"):
            scores = self._scorer.score_candidates(queries, items.encoded, places)
        return [
            _stored_hits(row, items, chosen, k) for row, chosen in zip(scores, places, strict=True)
        ]

    def _nearest(
        self, vector: NDArray[np.float32], width: int, where: str | None
    ) -> NDArray[np.int64]:
        wanted = width + self.SPARE
        while True:
            rows, vectors, ids = read.nearest_rows(self.gallery, vector, wanted, where)
            coarse = vectors @ vector
            order = best(coarse, width, ids)[0]
            # As long as the farthest row read ties with the shortlist's last, more may tie.
            edge = coarse[order[-1]]
            if len(rows) < wanted or coarse.min() < edge - 2 * ROUNDING * (1 + abs(edge)):
                return rows[order]
            wanted *= 2

    def _exhaustive(self, queries: Encoded, k: int, where: str | None) -> list[Hits]:
        found: list[list[Hits]] = [[] for _ in range(len(queries))]
        for items in each("gather", read.read_in_parts(self.gallery, where)):
            everything = np.arange(len(items.ids))
            with stage("match"):
                scores = self._scorer.score_all(queries, items.encoded)
            for row, parts in zip(scores, found, strict=True):
                parts.append(_stored_hits(row, items, everything, k))
        return [_merged(parts, k) for parts in found]


def _stored_hits(
    scores: NDArray[np.float32], items: read.StoredItems, rows: NDArray[np.int64], k: int
) -> Hits:
    top, settled = best(scores, k, items.ids[rows])
    chosen = rows[top]
    return Hits(tuple(items.ids[chosen].tolist()), settled, items.describe(chosen))


def _merged(parts: list[Hits], k: int) -> Hits:
    """The best of several parts of a gallery."""
    if not parts:
        return Hits((), np.empty(0, np.float32), ())
    ids = np.array([name for part in parts for name in part.ids], dtype=np.str_)
    scores = np.concatenate([part.scores for part in parts])
    metadata = [entry for part in parts for entry in part.metadata]
    top, settled = best(scores, k, ids)
    return Hits(tuple(ids[top].tolist()), settled, tuple(metadata[place] for place in top))
