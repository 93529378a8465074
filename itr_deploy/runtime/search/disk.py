"""Shortlist, match and rank over a gallery that stays on disk; hits are the same as in memory."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itr_deploy.runtime.encoding.checks import check_scores
from itr_deploy.runtime.encoding.encoded import Encoded
from itr_deploy.runtime.gallery import Gallery, read
from itr_deploy.runtime.gallery.held import Held
from itr_deploy.runtime.gallery.read import Vectors
from itr_deploy.runtime.hits import Hits
from itr_deploy.runtime.product_scorer import PART, ProductScorer
from itr_deploy.runtime.products import of_one
from itr_deploy.runtime.projection import PLAIN, Projection
from itr_deploy.runtime.ranking import ROUNDING, best, best_places, contenders
from itr_deploy.runtime.scorer import Scorer
from itr_deploy.runtime.search.coarse import CoarseVectors
from itr_deploy.runtime.search.memory import Size
from itr_deploy.runtime.search.narrowing import Narrower, Narrowing, narrowers, wider
from itr_deploy.runtime.search.ragged import score_ragged
from itr_deploy.runtime.search.searcher import Contenders, Searched
from itr_deploy.runtime.timing import Stage, each, stage

JOINED = 16
"""Batches after which only what may still be among the best is kept."""


class DiskSearcher:
    """Tensors stay on disk; a search reads its candidates' rows, or streams all rows.

    Where the coarse embeddings are in memory the shortlist is made as by `ResidentSearcher`.
    Otherwise LanceDB finds it, with the gallery's coarse index if there is one.
    """

    SPARE = 64
    """Rows first read beyond the shortlist, so that ties at its edge break as in memory."""

    def __init__(
        self,
        gallery: Gallery,
        searched: Searched,
        scorer: Scorer,
        size: Size,
        held: Held | None,
        prefilter: Scorer | None = None,
        projection: Projection = PLAIN,
        refiner: Scorer | None = None,
    ) -> None:
        """Search the gallery's table.

        Args:
            gallery: One version of a gallery.
            searched: Its version and number of items.
            scorer: The scorer of the bundle that made it.
            size: How large the gallery is, and how many of its rows a call may read.
            held: Its coarse embeddings, if these are in memory.
            prefilter: Scores with the bundle's prefilter, if it has one.
            projection: Transforms a query's coarse embedding before the shortlist.
            refiner: Scores with the bundle's refiner, if it has one.
        """
        self.gallery, self.searched = gallery, searched
        self._scorer, self._prefilter, self._refiner = scorer, prefilter, refiner
        self._projection = projection
        self._count = size.items
        self._rows_per_read = size.rows_per_read
        self._held = held
        self._indexed = 0 if held is not None else gallery.coarse_indexed
        self._by_products = isinstance(scorer, ProductScorer)

    @property
    def vectors(self) -> Vectors:
        """Every item's id and coarse embedding."""
        return self._read_held.vectors

    def encoded(self, rows: NDArray[np.int64]) -> Encoded:
        """Items by their places in `vectors`, each at most once."""
        held = self._read_held
        return read.read_rows(self.gallery, held.rows[held.places[rows]]).encoded

    @cached_property
    def _read_held(self) -> Held:
        """The coarse embeddings; where they are not in memory a re-ranker has them read."""
        return Held.load(self.gallery, tensors=False) if self._held is None else self._held

    @cached_property
    def _coarse(self) -> CoarseVectors:
        held = self._read_held
        return CoarseVectors(Vectors(held.ids, held.embedding), held.there, held.codes)

    def search(
        self,
        queries: Encoded,
        k: int,
        candidates: int | None,
        where: str | None,
        prefilter: int | None = None,
        refine: int | None = None,
    ) -> list[Hits]:
        """The ``k`` best items of every query; arguments as in `Searcher.search`."""
        allowed = self._count if where is None else self.gallery.count(where)
        if self._by_products and k < allowed and self._compares(queries):
            return self._by_product(queries, k, where)
        if candidates is None or max(candidates, k) >= allowed:
            return self._exhaustive(queries, k, where)
        width = max(candidates, k)
        chain = [
            one._replace(width=min(one.width, allowed))
            for one in narrowers(self._prefilter, prefilter, self._refiner, refine)
        ]
        step = max(1, self._rows_per_read // width)
        return [
            hits
            for start in range(0, len(queries), step)
            for hits in self._shortlisted(
                queries.take(slice(start, start + step)), k, width, where, chain
            )
        ]

    def _by_product(self, queries: Encoded, k: int, where: str | None) -> list[Hits]:
        """Hits of a dual encoder, whose scores are the products that find the nearest items."""
        with stage("match"):
            rows, _, scores = self._nearest(queries, k, where)
            check_scores(scores, PART)
        with stage("gather"):
            items, places = self._read(rows, tensors=())
        return [
            Hits(tuple(items.ids[own].tolist()), row, items.describe(own))
            for own, row in zip(places, scores, strict=True)
        ]

    def _shortlisted(
        self,
        queries: Encoded,
        k: int,
        width: int,
        where: str | None,
        chain: Sequence[Narrower],
    ) -> list[Hits]:
        shortlists, _ = self._shortlist(queries, width, where, chain)
        with stage("gather"):
            items, places = self._read(shortlists)
        with stage("match"):
            scores = self._scorer.score_candidates(queries, items.encoded, places)
        return [
            _stored_hits(row, items, chosen, k) for row, chosen in zip(scores, places, strict=True)
        ]

    def _shortlist(
        self, queries: Encoded, width: int, where: str | None, chain: Sequence[Narrower]
    ) -> tuple[NDArray[np.int64], NDArray[np.str_]]:
        """Row ids and ids ``[Q, width]``: the best by the last of a chain that reads more."""
        chain = wider(chain, width)
        if not chain:
            with stage("shortlist"):
                return self._nearest(queries, width, where)[:2]
        *before, last = chain
        rows, ids = self._shortlist(queries, last.width, where, before)
        about = self.gallery.description
        tensors = last.scorer.reads(about.modality, about.storage)
        scores = np.empty(rows.shape, np.float32)
        step = max(1, self._rows_per_read // len(queries))
        for start in range(0, rows.shape[1], step):
            part = slice(start, start + step)
            with stage("gather"):
                items, places = self._read(rows[:, part], tensors)
            with stage(last.stage):
                scores[:, part] = last.scorer.score_candidates(queries, items.encoded, places)
        chosen = best_places(scores, width, ids)
        return np.take_along_axis(rows, chosen, axis=1), np.take_along_axis(ids, chosen, axis=1)

    def _read(
        self, shortlists: NDArray[np.int64], tensors: Collection[str] | None = None
    ) -> tuple[read.StoredItems, NDArray[np.int64]]:
        """The items with these row ids, each once, and each shortlist entry's place among them."""
        union, places = np.unique(shortlists, return_inverse=True)
        return read.read_rows(self.gallery, union, tensors), places.reshape(shortlists.shape)

    def _nearest(
        self, queries: Encoded, width: int, where: str | None
    ) -> tuple[NDArray[np.int64], NDArray[np.str_], NDArray[np.float32]]:
        """Row ids, ids and products ``[Q, width]`` of every query's nearest items, best first."""
        own = self._projection.query(queries.modality, queries.embedding)
        if self._held is not None:
            held = self._held
            allowed = None
            if where is not None:
                allowed = held.found(read.filtered_rows(self.gallery, where))
            places, products = self._coarse.nearest(own, width, allowed)
            return held.rows[places], held.ids[places], products
        found = [self._nearest_of(vector, width, where) for vector in own]
        row_ids, names, scores = map(np.stack, zip(*found, strict=True))
        return row_ids, names, scores

    def _nearest_of(
        self, vector: NDArray[np.float32], width: int, where: str | None
    ) -> tuple[NDArray[np.int64], NDArray[np.str_], NDArray[np.float32]]:
        rows, ids, coarse = self._around(vector, width, where)
        order, products = best(coarse, width, ids)
        return rows[order], ids[order], products

    def _around(
        self, vector: NDArray[np.float32], width: int, where: str | None
    ) -> tuple[NDArray[np.int64], NDArray[np.str_], NDArray[np.float32]]:
        """Row ids, ids and products of the nearest items and of all that tie with the last."""
        wanted = width + self.SPARE
        while True:
            rows, vectors, ids = read.nearest_rows(
                self.gallery, vector, wanted, where, self._indexed
            )
            coarse = of_one(vector, vectors)
            if len(rows) < wanted:
                return rows, ids, coarse
            # While the farthest row read ties with the shortlist's last, more rows may tie.
            edge = np.partition(coarse, len(coarse) - width)[len(coarse) - width]
            if coarse.min() < edge - 2 * ROUNDING * (1 + abs(edge)):
                return rows, ids, coarse
            wanted *= 2

    def nearest(
        self, queries: Encoded, width: int, where: str | None
    ) -> tuple[int, list[Contenders]]:
        """The coarse stage; see `StagedSearcher`."""
        own = self._projection.query(queries.modality, queries.embedding)
        with stage("shortlist"):
            held = self._held
            if held is not None:
                places = held.places
                if where is not None:
                    places = held.found(read.filtered_rows(self.gallery, where))
                found = self._coarse.contenders(own, width, None if where is None else places)
                return len(places), [
                    Contenders(held.rows[chosen], held.ids[chosen], products)
                    for chosen, products in found
                ]
            count = self._count if where is None else self.gallery.count(where)
            return count, [self._contenders_of(vector, width, where) for vector in own]

    def _contenders_of(
        self, vector: NDArray[np.float32], width: int, where: str | None
    ) -> Contenders:
        rows, ids, coarse = self._around(vector, width, where)
        chosen = contenders(coarse, width)
        return Contenders(rows[chosen], ids[chosen], coarse[chosen])

    def narrowed(
        self, queries: Encoded, rows: Sequence[NDArray[np.int64]], part: Narrowing
    ) -> list[NDArray[np.float32]]:
        """The scores of a part of the matcher; see `StagedSearcher`."""
        scorer = self._prefilter if part == "prefilter" else self._refiner
        assert scorer is not None
        about = self.gallery.description
        return self._scored(
            part, scorer, queries, rows, scorer.reads(about.modality, about.storage)
        )

    def matched(
        self, queries: Encoded, rows: Sequence[NDArray[np.int64]]
    ) -> list[NDArray[np.float32]]:
        """The matcher's scores; see `StagedSearcher`."""
        return self._scored("match", self._scorer, queries, rows, None)

    def _scored(
        self,
        name: Stage,
        scorer: Scorer,
        queries: Encoded,
        rows: Sequence[NDArray[np.int64]],
        tensors: Collection[str] | None,
    ) -> list[NDArray[np.float32]]:
        """Scores of each query's own items, of which no more are read at once than fit."""
        scores = [np.empty(len(own), np.float32) for own in rows]
        union = np.unique(np.concatenate([np.empty(0, np.int64), *rows]))
        for start in range(0, len(union), self._rows_per_read):
            part = union[start : start + self._rows_per_read]
            with stage("gather"):
                items = read.read_rows(self.gallery, part, tensors)
            inside = [np.flatnonzero(np.isin(own, part)) for own in rows]
            places = [np.searchsorted(part, own[at]) for own, at in zip(rows, inside, strict=True)]
            with stage(name):
                found = score_ragged(scorer, queries, items.encoded, places)
            for target, at, values in zip(scores, inside, found, strict=True):
                target[at] = values
        return scores

    def exhaustive(self, queries: Encoded, k: int, where: str | None) -> list[Contenders]:
        """Contenders by the scores of all items; see `StagedSearcher`."""
        if self._by_products and self._compares(queries):
            found = self.nearest(queries, k, where)[1]
            for one in found:
                check_scores(one.scores, PART)
            return found
        parts: list[list[Contenders]] = [[] for _ in range(len(queries))]
        for rows, items in each("gather", read.read_in_parts(self.gallery, where)):
            with stage("match"):
                scores = self._scorer.score_all(queries, items.encoded)
            for row, own in zip(scores, parts, strict=True):
                own.append(Contenders(rows, items.ids, row))
                if len(own) >= JOINED:
                    own[:] = [_joined(own, k)]
        return [_joined(own, k) for own in parts]

    def described(
        self, rows: NDArray[np.int64]
    ) -> tuple[NDArray[np.str_], tuple[dict[str, Any], ...]]:
        """Ids and user columns of items; see `StagedSearcher`."""
        if not len(rows):
            return np.empty(0, np.str_), ()
        items = read.read_rows(self.gallery, rows, ())
        return items.ids, items.describe(np.arange(len(rows)))

    def _compares(self, queries: Encoded) -> bool:
        """Whether the nearest items can be found: LanceDB compares single vectors alone."""
        single = queries.embedding.shape[1] == self.gallery.description.embedding_dim
        return self._held is not None or single

    def _exhaustive(self, queries: Encoded, k: int, where: str | None) -> list[Hits]:
        found: list[list[Hits]] = [[] for _ in range(len(queries))]
        for _, items in each("gather", read.read_in_parts(self.gallery, where)):
            everything = np.arange(len(items.ids))
            with stage("match"):
                scores = self._scorer.score_all(queries, items.encoded)
            for row, parts in zip(scores, found, strict=True):
                parts.append(_stored_hits(row, items, everything, k))
        return [_merged(parts, k) for parts in found]


def _joined(parts: Sequence[Contenders], k: int) -> Contenders:
    """The contenders of several parts of a gallery."""
    if not parts:
        return Contenders(np.empty(0, np.int64), np.empty(0, np.str_), np.empty(0, np.float32))
    rows, ids, scores = (
        np.concatenate([getattr(part, name) for part in parts])
        for name in ("rows", "ids", "scores")
    )
    chosen = contenders(scores, k)
    return Contenders(rows[chosen], ids[chosen], scores[chosen])


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
