"""Search, then re-rank: the matcher's best hits in the order that a re-ranker gives them."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from itr_deploy.bundle.manifest import Pipeline, Reranker
from itr_deploy.bundle.modality import RERANK_GRAPHS, Modality, other
from itr_deploy.errors import BundleError, GalleryError, InputError, UsageError
from itr_deploy.runtime.encoding.checks import check_scores
from itr_deploy.runtime.encoding.encoded import Encoded
from itr_deploy.runtime.hits import Hits
from itr_deploy.runtime.matcher import Matcher
from itr_deploy.runtime.ranking import best
from itr_deploy.runtime.rerank.affinities import affinities
from itr_deploy.runtime.rerank.edges import edges
from itr_deploy.runtime.rerank.neighbourhood import Neighbourhood
from itr_deploy.runtime.rerank.neighbours import NeighbourLists, QueryNeighbours
from itr_deploy.runtime.search.cached import SearcherCache
from itr_deploy.runtime.search.searcher import Searcher
from itr_deploy.runtime.timing import stage

Rows = NDArray[np.int64]
Floats = NDArray[np.float32]
Given = tuple[list[str], Floats]

BATCH = 64
"""Queries that the re-ranker scores at once."""


class Reranking:
    """A bundle's re-ranker over one gallery and a bank. Safe to use from several threads."""

    def __init__(
        self,
        matcher: Matcher,
        bank: SearcherCache,
        gallery_neighbours: NeighbourLists | str | Path | None = None,
        bank_neighbours: NeighbourLists | str | Path | None = None,
    ) -> None:
        """Read the neighbour lists; the galleries are searched later.

        Args:
            matcher: The matcher of a bundle with a re-ranker.
            bank: The gallery of the queries' modality.
            gallery_neighbours: The nearest neighbours of every item of the searched gallery, or
                their file, for a similarity of your own.
            bank_neighbours: The same for the bank.

        Raises:
            BundleError: The bundle has no re-ranker.
            GalleryError: The bank was made with another bundle.
            InputError: Neighbour lists cannot be read, or the re-ranker needs them and has none.
        """
        self._matcher, self._bank = matcher, bank
        self._record = reranker_of(matcher)
        bank.gallery.check_bundle(matcher)
        self._lists = _lists(gallery_neighbours), _lists(bank_neighbours)
        if self._record.intra_similarity == "neighbour_lists" and self._lists[0] is None:
            raise InputError(
                f"{matcher.bundle.path}: its re-ranker was trained with neighbour lists for the "
                "similarity within a modality; give gallery_neighbours="
            )
        self._lock, self._making = threading.Lock(), threading.Lock()
        self._known: list[Neighbourhood] = []

    @property
    def bank(self) -> SearcherCache:
        """The bank, the gallery of the queries' modality."""
        return self._bank

    def depth(self, query: Modality) -> int:
        """The least number of the matcher's hits that re-ranking needs."""
        return self._record.depth(query)

    def search(
        self,
        gallery: Searcher,
        queries: Encoded,
        k: int,
        candidates: int | None,
        where: str | None,
        query_neighbours: QueryNeighbours | None = None,
        prefilter: int | None = None,
        refine: int | None = None,
        *,
        bank: Searcher | None = None,
    ) -> list[Hits]:
        """The ``k`` best items of every query, the matcher's K - 1 best re-ranked.

        Args:
            gallery: Searches the gallery.
            queries: Encoded queries of the bank's modality.
            k: Hits per query.
            candidates: Width of the matcher's shortlist, at least what the re-ranker reads.
            where: SQL over the gallery's columns. It narrows what is found, not the neighbour
                lists of what is found.
            query_neighbours: For every query, the ids and similarities of its nearest bank items,
                as for `Retriever.search`.
            prefilter: Width of the shortlist that the prefilter narrows.
            refine: Width of the shortlist that the refiner narrows to the matcher's.
            bank: Searches the bank; by default its current version.

        Raises:
            GalleryError: The gallery, or what the filter keeps of it, or the bank is too small.
            InputError: The queries' neighbours are missing or not in the bank.
        """
        given = _given(query_neighbours, len(queries))
        around = self.neighbourhood(gallery, bank)
        needed = self.depth(queries.modality)
        found = gallery.search(queries, max(k, needed), candidates, where, prefilter, refine)
        if found and len(found[0]) < needed:
            kept = "" if where is None else f" that where={where!r} keeps"
            raise GalleryError(
                f"{gallery.gallery.path}: {len(found[0])} items{kept}; this re-ranker needs at "
                f"least {needed}, as its sizes are fixed; search without it"
            )
        pipeline = self._matcher.bundle.manifest.pipeline if candidates is not None else None
        reranked: list[Hits] = []
        for start in range(0, len(queries), BATCH):
            part = slice(start, start + BATCH)
            with stage("rerank"):
                inputs = [
                    self._inputs(around, queries.modality, hits, vector, near, pipeline)
                    for hits, vector, near in zip(
                        found[part], queries.embedding[part], given[part], strict=True
                    )
                ]
                scores = self._scores(queries.modality, inputs)
                reranked += [
                    _reordered(hits, row, k) for hits, row in zip(found[part], scores, strict=True)
                ]
        return reranked

    def neighbourhood(self, gallery: Searcher, bank: Searcher | None = None) -> Neighbourhood:
        """The neighbourhood of a version of the gallery and one of the bank.

        Args:
            gallery: Searches the gallery.
            bank: Searches the bank; by default its current version.

        Raises:
            GalleryError: The bank is too small, or has the gallery's own modality.
            InputError: Neighbour lists do not cover a gallery.
        """
        check_bank(gallery.gallery.modality, self._bank)
        bank = self._bank.searcher() if bank is None else bank
        found = self._of(gallery, bank)
        if found is not None:
            return found
        with self._making:
            found = self._of(gallery, bank)
            if found is None:
                found = Neighbourhood(
                    self._record, self._matcher.scorer, gallery, bank, *self._lists
                )
                with self._lock:
                    # The one that is searched, and the one that will be.
                    self._known = [found, *self._known[:1]]
            return found

    def _of(self, gallery: Searcher, bank: Searcher) -> Neighbourhood | None:
        with self._lock:
            for known in self._known:
                if known.gallery is gallery and known.bank is bank:
                    return known
        return None

    def forget(self, before: Searcher) -> None:
        """Let go of what is not searched any more, so that its memory is freed."""
        with self._lock:
            self._known = [
                known for known in self._known if before not in (known.gallery, known.bank)
            ]

    def _inputs(
        self,
        around: Neighbourhood,
        modality: Modality,
        hits: Hits,
        embedding: Floats,
        given: Given | None,
        pipeline: Pipeline | None,
    ) -> tuple[Floats, Floats]:
        """Affinities ``[1, K, 2L]`` and edges ``[1, K, K]`` of one query."""
        shape, count = self._record.direction(modality), self._record.neighbours
        ranked = np.array([around.rows[name] for name in hits.ids], np.int64)
        pillars = self._record.pillars - 1
        shortlist = ranked[: shape.rows - 1]
        query = around.pillars(embedding, given)
        made = affinities(
            hits.scores[None],
            np.array([query.own]),
            query.similarities[None, :pillars],
            around.gallery_similarity.between(shortlist[None], ranked[None, :pillars]),
            around.pillar_scores(query.rows[:pillars], shortlist)[None],
        )
        number = len(around.bank.vectors.ids)
        in_bank = around.bank_lists(shortlist, pipeline).with_query(
            hits.scores[: len(shortlist)], query.same, number
        )
        item_lists = [ranked[None, :count], around.gallery_similarity.lists(shortlist, count)]
        bank_lists = [np.append(number, query.rows[: count - 1])[None], in_bank]
        between = edges(
            np.concatenate(item_lists)[None], np.concatenate(bank_lists)[None], shape.threshold
        )
        return made, between

    def _scores(self, modality: Modality, inputs: Sequence[tuple[Floats, Floats]]) -> Floats:
        """The network's scores of all inputs, ``[q, K - 1]``."""
        made, between = (np.concatenate(parts) for parts in zip(*inputs, strict=True))
        return network_scores(self._matcher, modality, made, between)


def network_scores(matcher: Matcher, query: Modality, affinities: Floats, edges: Floats) -> Floats:
    """Run the re-ranker's graph of one direction.

    Args:
        matcher: The matcher of the bundle with the graph.
        query: Modality of the queries.
        affinities: ``float32 [q, K, 2L]``.
        edges: ``float32 [q, K, K]``.

    Returns:
        ``float32 [q, K - 1]``, higher is better.
    """
    graph = matcher.bundle.manifest.graph(RERANK_GRAPHS[query])
    batch = matcher.backend.max_size(graph, "batch") or len(edges)
    parts = [slice(start, start + batch) for start in range(0, len(edges), batch)]
    calls = [(graph, {"affinities": affinities[part], "edges": edges[part]}) for part in parts]
    scores = np.concatenate([outputs["scores"] for outputs in matcher.backend.run_all(calls)])
    check_scores(scores, "re-ranker")
    return scores


def reranker_of(matcher: Matcher) -> Reranker:
    """The record of a bundle's re-ranker.

    Raises:
        BundleError: The bundle has no re-ranker.
    """
    record = matcher.bundle.manifest.reranker
    if record is None:
        raise BundleError(
            f"{matcher.bundle.path} has no re-ranker; add one with itr-deploy export leaprr"
        )
    return record


def check_bank(gallery: Modality, bank: SearcherCache) -> None:
    """Refuse a bank of the gallery's own modality.

    Raises:
        GalleryError: The bank has the gallery's modality.
    """
    if bank.gallery.modality == gallery:
        raise GalleryError(
            f"{bank.gallery.path} holds {gallery}s; a gallery of {gallery}s is re-ranked with a "
            f"bank of {other(gallery)}s"
        )


def no_bank(gallery: Modality) -> UsageError:
    """The error for re-ranking without a bank."""
    return UsageError(
        f"re-ranking a gallery of {gallery}s needs a bank of {other(gallery)}s; "
        "give bank= to Retriever.load or search (--bank)"
    )


def _reordered(hits: Hits, scores: Floats, k: int) -> Hits:
    """The hits with the first ones in the order of new scores; ties keep their order."""
    count = len(scores)
    order, settled = best(scores, count, np.arange(count))
    places = np.concatenate([order, np.arange(count, len(hits))])[:k]
    new = np.concatenate([settled, np.full(len(hits) - count, np.nan, np.float32)])[:k]
    return Hits(
        tuple(hits.ids[place] for place in places),
        hits.scores[places],
        tuple(hits.metadata[place] for place in places),
        new,
        places + 1,
    )


def _lists(given: NeighbourLists | str | Path | None) -> NeighbourLists | None:
    return (
        given if given is None or isinstance(given, NeighbourLists) else NeighbourLists.read(given)
    )


def _given(neighbours: QueryNeighbours | None, count: int) -> list[Given | None]:
    if neighbours is None:
        return [None] * count
    if len(neighbours) != count:
        raise InputError(f"query_neighbours= is for {len(neighbours)} queries; there are {count}")
    made: list[Given | None] = []
    for place, (names, similarities) in enumerate(neighbours):
        values = np.asarray(similarities, np.float32)
        if values.shape != (len(names),) or not np.isfinite(values).all():
            raise InputError(
                f"query_neighbours= of query {place}: {len(names)} ids and similarities of shape "
                f"{list(values.shape)}; expected one finite number an id"
            )
        made.append((list(names), values))
    return made
