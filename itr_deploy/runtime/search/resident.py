"""Shortlist, match and rank over a gallery in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itr_deploy.runtime.encoding.encoded import Encoded
from itr_deploy.runtime.gallery import Gallery, read
from itr_deploy.runtime.gallery.held import Held
from itr_deploy.runtime.gallery.read import Vectors
from itr_deploy.runtime.hits import Hits
from itr_deploy.runtime.projection import PLAIN, Projection
from itr_deploy.runtime.ranking import best, best_rows, contenders
from itr_deploy.runtime.scorer import Scorer
from itr_deploy.runtime.search.coarse import CoarseVectors
from itr_deploy.runtime.search.narrowing import Narrower, Narrowing, narrowers, wider
from itr_deploy.runtime.search.ragged import score_ragged
from itr_deploy.runtime.search.searcher import Contenders, Searched
from itr_deploy.runtime.timing import stage


class ResidentSearcher:
    """All tensors in memory, and all coarse embeddings, from which shortlists are made."""

    def __init__(
        self,
        gallery: Gallery,
        searched: Searched,
        scorer: Scorer,
        held: Held,
        prefilter: Scorer | None = None,
        projection: Projection = PLAIN,
        refiner: Scorer | None = None,
    ) -> None:
        """Search what is held of the gallery.

        Args:
            gallery: One version of a gallery.
            searched: Its version and number of items.
            scorer: The scorer of the bundle that made it.
            held: All of its items with their tensors.
            prefilter: Scores with the bundle's prefilter, if it has one.
            projection: Transforms a query's coarse embedding before the shortlist.
            refiner: Scores with the bundle's refiner, if it has one.
        """
        self.gallery, self.searched = gallery, searched
        self._scorer, self._prefilter, self._refiner = scorer, prefilter, refiner
        self._projection = projection
        self._held = held
        self._encoded = scorer.resident(held.encoded)
        vectors = Vectors(held.ids, held.embedding)
        self._coarse = CoarseVectors(vectors, held.there, held.codes)
        self._bytes: dict[Scorer, Encoded] = {}
        # Worked out now, not at the first search.
        _ = self._encoded.places, held.places

    @property
    def vectors(self) -> Vectors:
        """Every item's id and coarse embedding."""
        return self._held.vectors

    def encoded(self, rows: NDArray[np.int64]) -> Encoded:
        """Items by their places in `vectors`, each at most once."""
        return self._encoded.take(self._held.places[rows])

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
        allowed = self._allowed(where)
        width = len(allowed) if candidates is None else max(candidates, k)
        if width >= len(allowed):
            with stage("match"):
                scores = self._scorer.score_all(queries, self._encoded, allowed)
            return [self._hits(row, allowed, k) for row in scores]
        chain = narrowers(self._prefilter, prefilter, self._refiner, refine)
        shortlist = self._shortlist(queries, allowed, width, chain)
        with stage("match"):
            scores = self._scorer.score_candidates(queries, self._encoded, shortlist)
        return [self._hits(row, list_, k) for row, list_ in zip(scores, shortlist, strict=True)]

    def nearest(
        self, queries: Encoded, width: int, where: str | None
    ) -> tuple[int, list[Contenders]]:
        """The coarse stage; see `StagedSearcher`."""
        allowed = self._allowed(where)
        own = self._projection.query(queries.modality, queries.embedding)
        everything = allowed is self._held.places
        with stage("shortlist"):
            found = self._coarse.contenders(own, width, None if everything else allowed)
        return len(allowed), [self._contenders(*one) for one in found]

    def narrowed(
        self, queries: Encoded, rows: Sequence[NDArray[np.int64]], part: Narrowing
    ) -> list[NDArray[np.float32]]:
        """The scores of a part of the matcher; see `StagedSearcher`."""
        scorer = self._prefilter if part == "prefilter" else self._refiner
        assert scorer is not None
        places = [self._held.at(own) for own in rows]
        with stage(part):
            return score_ragged(scorer, queries, self._narrowed_items(scorer), places)

    def matched(
        self, queries: Encoded, rows: Sequence[NDArray[np.int64]]
    ) -> list[NDArray[np.float32]]:
        """The matcher's scores; see `StagedSearcher`."""
        places = [self._held.at(own) for own in rows]
        with stage("match"):
            return score_ragged(self._scorer, queries, self._encoded, places)

    def exhaustive(self, queries: Encoded, k: int, where: str | None) -> list[Contenders]:
        """Contenders by the scores of all items; see `StagedSearcher`."""
        allowed = self._allowed(where)
        with stage("match"):
            scores = self._scorer.score_all(queries, self._encoded, allowed)
        return [
            self._contenders(allowed[chosen], row[chosen])
            for row in scores
            for chosen in [contenders(row, k)]
        ]

    def described(
        self, rows: NDArray[np.int64]
    ) -> tuple[NDArray[np.str_], tuple[dict[str, Any], ...]]:
        """Ids and user columns of items; see `StagedSearcher`."""
        places = self._held.at(rows)
        return self._held.ids[places], self._held.metadata.describe(places)

    def _contenders(self, places: NDArray[np.int64], scores: NDArray[np.float32]) -> Contenders:
        return Contenders(self._held.rows[places], self._held.ids[places], scores)

    def _allowed(self, where: str | None) -> NDArray[np.int64]:
        if where is None:
            return self._held.places
        return self._held.found(read.filtered_rows(self.gallery, where))

    def _shortlist(
        self, queries: Encoded, allowed: NDArray[np.int64], width: int, chain: Sequence[Narrower]
    ) -> NDArray[np.int64]:
        """The best items of every query by the last of a chain that reads more: ``[Q, width]``."""
        chain = wider(chain, width)
        if not chain:
            with stage("shortlist"):
                return self._nearest(queries, allowed, width)
        *before, last = chain
        items = self._narrowed_items(last.scorer)
        if last.width >= len(allowed):
            rows = np.broadcast_to(allowed, (len(queries), len(allowed)))
            with stage(last.stage):
                scores = last.scorer.score_all(queries, items, allowed)
        else:
            rows = self._shortlist(queries, allowed, last.width, before)
            with stage(last.stage):
                scores = last.scorer.score_candidates(queries, items, rows)
        with stage(last.stage):
            return best_rows(scores, rows, width, self._held.ids)

    def _narrowed_items(self, scorer: Scorer) -> Encoded:
        """All items as a part of the matcher reads them: as bytes, where it does and there are."""
        if scorer not in self._bytes:
            names = scorer.in_bytes(self._held.about.modality)
            found = (
                self._held.in_bytes.of(self._held.pools, names, self._encoded) if names else None
            )
            if found is None:
                return self._encoded
            _ = found.places
            self._bytes[scorer] = found
        return self._bytes[scorer]

    def _nearest(
        self, queries: Encoded, allowed: NDArray[np.int64], width: int
    ) -> NDArray[np.int64]:
        own = self._projection.query(queries.modality, queries.embedding)
        everything = allowed is self._held.places
        return self._coarse.nearest(own, width, None if everything else allowed)[0]

    def _hits(self, scores: NDArray[np.float32], rows: NDArray[np.int64], k: int) -> Hits:
        top, settled = best(scores, k, self._held.ids, rows)
        chosen = rows[top]
        names = tuple(self._held.ids[chosen].tolist())
        return Hits(names, settled, self._held.metadata.describe(chosen))
