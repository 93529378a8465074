"""The retriever: a matcher and a gallery, queries in, hits out."""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import nullcontext, suppress
from enum import Enum
from pathlib import Path
from typing import Final, TypeAlias, overload

import numpy as np
from numpy.typing import NDArray

from itr_deploy.bundle.modality import Modality, other
from itr_deploy.errors import BundleError, GalleryError, InputError, UsageError
from itr_deploy.runtime.backends import Backend
from itr_deploy.runtime.cpus import MOST_THREADS
from itr_deploy.runtime.detector.detector import BACKEND, Detector
from itr_deploy.runtime.encoding.encoded import Encoded
from itr_deploy.runtime.encoding.images import Unencoded, several_images
from itr_deploy.runtime.encoding.places import Placed
from itr_deploy.runtime.encoding.remembered import RememberedTexts
from itr_deploy.runtime.explanation import Explanation
from itr_deploy.runtime.forks import OneProcess
from itr_deploy.runtime.gallery import Gallery
from itr_deploy.runtime.gallery.pausing import Pause, at_once, gently
from itr_deploy.runtime.gallery.read import read_named
from itr_deploy.runtime.gallery.sharding.shards import is_shards
from itr_deploy.runtime.hits import Hits
from itr_deploy.runtime.matcher import DETECTOR, Matcher
from itr_deploy.runtime.rerank.neighbours import NeighbourLists, QueryNeighbours
from itr_deploy.runtime.rerank.reranking import Reranking, check_bank, no_bank
from itr_deploy.runtime.scorer import Scorer
from itr_deploy.runtime.search.background import Background
from itr_deploy.runtime.search.cached import SearcherCache
from itr_deploy.runtime.search.searcher import Searched, Searcher
from itr_deploy.runtime.search.shards.gallery import ShardedGallery, ShardStatus
from itr_deploy.runtime.search.shards.how import How
from itr_deploy.runtime.search.shards.opening import open_shards
from itr_deploy.runtime.search.shards.searcher import Missing
from itr_deploy.runtime.timing import note_searched, stage
from itr_deploy.runtime.warming import warm_query
from itr_deploy.values import (
    FLAG,
    GALLERY,
    PATH,
    TEXT,
    checked,
    choice,
    each,
    either,
    or_none,
    real,
    whole,
)

log = logging.getLogger(__name__)


class Default(Enum):
    """Marks an argument that the bundle decides."""

    BUNDLE = "bundle"


FROM_BUNDLE: Final = Default.BUNDLE

DEFAULT_BUDGET = 4 << 30
"""Bytes of gallery tensors kept in memory."""

QUERY_BUDGET = 32 << 20
"""Bytes of encoded texts kept for when they are asked again: two hundred of IMRAM text."""

SHARD_TIMEOUT = 30.0
"""Seconds that a search over shards may take."""
MOST_REPLICAS = 64

_COUNT = whole(1)
_WIDTH = or_none(_COUNT, "None for all items")
_PREFILTER = or_none(_COUNT, "None for no prefilter")
_REFINE = or_none(_COUNT, "None for no refiner")
_FILTER = or_none(TEXT)
SECONDS = real("a number of seconds above 0", above=0.0, at_most=86_400.0)
_GALLERY = either(Gallery, GALLERY)
_LISTS = either(NeighbourLists, PATH)


AnyGallery: TypeAlias = Gallery | ShardedGallery
"""What a retriever searches."""


class Retriever(OneProcess):
    """Searches a gallery with a bundle's matcher. Safe to use from several threads.

    Examples:
        >>> retriever = Retriever.load("bundle/", gallery="gallery/")
        >>> hits = retriever.search("a dog on the grass", k=2)
        >>> [hit.rank for hit in hits]
        [1, 2]
        >>> cheap = retriever.search("a dog on the grass", where="price < 4", candidates=None)
        >>> [(hit.id, hit.metadata["price"]) for hit in cheap]
        [('a', 3.5)]
    """

    def __init__(
        self,
        matcher: Matcher,
        gallery: AnyGallery,
        memory_budget: int = DEFAULT_BUDGET,
        resident: bool | None = None,
        reranking: Reranking | None = None,
        query_budget: int = QUERY_BUDGET,
    ) -> None:
        """Assemble a retriever from its parts; `load` is the usual way."""
        self.matcher = matcher
        texts = matcher.bundle.manifest.texts
        self._texts = RememberedTexts(matcher.encode_texts, texts, query_budget)
        self.gallery = gallery
        self._shards = gallery if isinstance(gallery, ShardedGallery) else None
        self._cache: SearcherCache | None = None
        if isinstance(gallery, Gallery):
            gallery.check_bundle(matcher)
            self._cache = SearcherCache(gallery, matcher, memory_budget, resident)
        if reranking is not None:
            check_bank(gallery.modality, reranking.bank)
        self._reranking = reranking
        self._refresh_error: Exception | None = None
        self._background = Background(self._refresh_quietly)
        self._swapping = threading.Lock()
        if reranking is not None:
            self._keep_neighbourhoods(reranking)

    def __repr__(self) -> str:
        """Matcher and gallery."""
        return f"<Retriever of {self.gallery!r} by {self.matcher!r}>"

    @classmethod
    @checked(
        bundle=PATH,
        gallery=_GALLERY,
        device=TEXT,
        memory_budget=whole(0),
        query_budget=whole(0),
        resident=FLAG,
        backend=BACKEND,
        bank=_GALLERY,
        gallery_neighbours=_LISTS,
        bank_neighbours=_LISTS,
        detector=DETECTOR,
        ray=TEXT,
        replicas=whole(1, MOST_REPLICAS),
        missing_shards=choice(Missing),
        shard_threads=whole(1, MOST_THREADS),
        shard_timeout=SECONDS,
    )
    def load(
        cls,
        bundle: str | Path,
        gallery: str | Path | Gallery,
        device: str = "cpu",
        threads: int | None = None,
        memory_budget: int = DEFAULT_BUDGET,
        resident: bool | None = None,
        *,
        backend: str | Backend = "auto",
        bank: str | Path | Gallery | None = None,
        gallery_neighbours: str | Path | NeighbourLists | None = None,
        bank_neighbours: str | Path | NeighbourLists | None = None,
        detector: str | Path | Detector | None = None,
        ray: str | None = None,
        replicas: int = 1,
        missing_shards: Missing = "refuse",
        shard_threads: int | None = None,
        shard_timeout: float = SHARD_TIMEOUT,
        query_budget: int = QUERY_BUDGET,
    ) -> Retriever:
        """Open a bundle and a gallery made with it.

        Args:
            bundle: The bundle's directory.
            gallery: The gallery's path, or an opened one; or the ``shards.json`` of one in shards,
                or its directory.
            device: ``"cpu"`` or ``"cuda"``.
            threads: Compute threads on the CPU; None for ``$ITR_DEPLOY_THREADS``, else
                ``$OMP_NUM_THREADS``, else every core that affinity and CPU quota allow.
            memory_budget: Bytes of tensors to keep in memory, for the gallery and the bank each; of
                shards for all of them together, or with ``ray`` for every replica.
            resident: True loads the gallery whatever its size, False leaves it on disk, None
                decides by ``memory_budget``. The results are the same.
            backend: ``"onnxruntime"``, or on a GPU ``"tensorrt"`` (the bundle's engines) or
                ``"onnxruntime-tensorrt"``, see `open_backend`; or a backend made for this bundle,
                see `Matcher.load`.
            bank: A gallery of the other modality, for re-ranking: texts where images are
                searched.
            gallery_neighbours: The nearest neighbours of every item of the gallery, for re-ranking
                with a similarity of your own; an ``.npz`` file or the lists read from it.
            bank_neighbours: The same for the bank.
            detector: Finds regions in pictures that are given as ``image=``, see `Matcher.load`.
            ray: Address of the Ray cluster whose actors hold shards, ``"local"`` for one that is
                started here; None for shards in this process.
            replicas: Actors of every shard; the others answer where one is lost.
            missing_shards: What becomes of a search where a shard has no replica that answers:
                ``"refuse"`` for an error, ``"partial"`` for `Hits` of the others, with ``partial``.
            shard_threads: Compute threads of every replica; by default the cluster's CPUs, divided.
            shard_timeout: Seconds that a search over shards may take.
            query_budget: Bytes of encoded texts to keep for when they are asked again; 0 for none.

        Raises:
            BundleError: The bundle is missing or damaged, or has no re-ranker for the bank.
            GalleryError: The gallery, a shard or the bank is missing or was made with another
                bundle, or both have the same modality.
            InputError: Neighbour lists cannot be read, or are needed but missing.
            EngineError: The bundle has no engines for the backend asked for.
            SetupError: A library or the device is missing.
            UsageError: The device or backend is unknown, or neighbour lists are given without a
                bank.
        """
        sharded = is_shards(gallery)
        check_shards(
            sharded,
            ray=ray,
            replicas=replicas,
            missing_shards=missing_shards,
            shard_threads=shard_threads,
            bank=bank,
        )
        if ray is not None and not isinstance(backend, str):
            raise UsageError("backend= must be a name with ray=: every actor opens its own")
        matcher = Matcher.load(
            bundle, device=device, threads=threads, backend=backend, detector=detector
        )
        if sharded:
            assert not isinstance(gallery, Gallery)
            how = How(
                *(ray, replicas, missing_shards, shard_timeout, shard_threads),
                *(memory_budget, resident, device, str(backend)),
            )
            return cls(matcher, open_shards(matcher, gallery, how), query_budget=query_budget)
        if not isinstance(gallery, Gallery):
            gallery = Gallery.open(gallery, matcher)
        reranking = None
        if bank is not None:
            opened = bank if isinstance(bank, Gallery) else Gallery.open(bank, matcher)
            loaded = SearcherCache(opened, matcher, memory_budget, resident)
            reranking = Reranking(matcher, loaded, gallery_neighbours, bank_neighbours)
        elif gallery_neighbours is not None or bank_neighbours is not None:
            raise UsageError("neighbour lists are for re-ranking, which needs a bank too; give it")
        return cls(matcher, gallery, memory_budget, resident, reranking, query_budget)

    @overload
    def search(
        self,
        query: str,
        k: int = ...,
        where: str | None = ...,
        *,
        candidates: int | Default | None = ...,
        prefilter: int | Default | None = ...,
        refine: int | Default | None = ...,
        rerank: bool = ...,
        query_neighbours: QueryNeighbours | None = ...,
    ) -> Hits: ...

    @overload
    def search(
        self,
        query: list[str] | tuple[str, ...],
        k: int = ...,
        where: str | None = ...,
        *,
        candidates: int | Default | None = ...,
        prefilter: int | Default | None = ...,
        refine: int | Default | None = ...,
        rerank: bool = ...,
        query_neighbours: QueryNeighbours | None = ...,
    ) -> list[Hits]: ...

    @overload
    def search(
        self,
        *,
        image: Unencoded,
        k: int = ...,
        where: str | None = ...,
        candidates: int | Default | None = ...,
        prefilter: int | Default | None = ...,
        refine: int | Default | None = ...,
        rerank: bool = ...,
        query_neighbours: QueryNeighbours | None = ...,
    ) -> Hits | list[Hits]: ...

    def search(
        self,
        query: str | Sequence[str] | None = None,
        k: int = 10,
        where: str | None = None,
        *,
        image: Unencoded | None = None,
        candidates: int | Default | None = FROM_BUNDLE,
        prefilter: int | Default | None = FROM_BUNDLE,
        refine: int | Default | None = FROM_BUNDLE,
        rerank: bool = False,
        query_neighbours: QueryNeighbours | None = None,
    ) -> Hits | list[Hits]:
        """Search images with texts, or texts with images.

        A dual encoder of one vector an item, and no ensemble, also finds items like one of their
        own modality, by the product of the vectors.

        Args:
            query: A text, or several, for a gallery of images.
            k: Hits per query; fewer are returned if the gallery has, or the filter keeps, fewer.
            where: Conditions on the gallery's columns that an item must satisfy, in the part of
                SQL that docs/guides/search.md states. It may come from anybody.
            image: Regions ``[R, Di]`` of one image, or of several: ``[N, R, Di]``, a list of
                ``[R_i, Di]``, or `Regions` of one or several; for a gallery of texts. With a
                detector, or for a bundle whose model starts from pixels, a picture or a list of
                them: a path, a file's content in bytes, an image of Pillow's, or
                ``uint8 [H, W, 3]``.
            candidates: Items that the matcher scores per query, never fewer than ``k``; None
                scores every item. By default the bundle's pipeline decides, and where it has a
                refiner, more than 10 hits have as many times the width, up to the refiner's. Means
                nothing for a dual encoder, which has no matcher, and a warning says so.
            prefilter: Items per query that the coarse embedding passes to the bundle's prefilter,
                which chooses among them what the refiner reads, or the ``candidates``. The
                prefilter is not used if this is None or no larger than what it would leave, or if
                every item is scored. By default the bundle's pipeline decides.
            refine: Items per query that the bundle's refiner reads, a larger part of the matcher,
                which chooses the ``candidates`` among them. The refiner is not used if this is None
                or no larger than ``candidates``, or if every item is scored. By default the
                bundle's pipeline decides, and there is none where ``candidates`` are given.
            rerank: Reorder the best hits with the bundle's re-ranker; they stay above the rest. A
                query is treated as if it were an item of the bank.
            query_neighbours: For every query, the ids of its nearest bank items, nearest first,
                and their similarities, if these do not come from pooled embeddings.

        Returns:
            The hits of one query, or a list of them for several.

        Raises:
            BundleError: ``prefilter`` or ``refine`` is given and the bundle has none.
            InputError: The query cannot be encoded or is of the gallery's own modality, unless a
                dual encoder compares those; or its neighbours are missing.
            GalleryError: The filter is not understood, or there are too few items to re-rank.
            UsageError: ``k``, ``candidates``, ``prefilter`` or ``refine`` is not positive, not
                exactly one of ``query`` and ``image`` is given, or there is no bank to re-rank
                with.
        """
        if FLAG("rerank", rerank) and self._reranking is None:
            raise no_bank(self.gallery.modality)
        alike = (query if self.gallery.modality == "text" else image) is not None
        if rerank and alike:
            raise UsageError(
                f"rerank=True re-ranks {self.gallery.modality}s for queries of the other modality"
            )
        if query_neighbours is not None and not rerank:
            raise UsageError("query_neighbours= is for re-ranking; give rerank=True too")
        k = _COUNT("k", k)
        _FILTER("where", where)
        if self._shards is not None and where is not None:
            self._shards.check_filter(where)
        pipeline = self.matcher.bundle.manifest.pipeline
        modality: Modality = "text" if image is None else "image"
        reranking = self._reranking if rerank else None
        hits = k if reranking is None else max(k, reranking.depth(modality))
        narrow: int | None = pipeline.width_for(modality, hits)
        if candidates is not FROM_BUNDLE:
            narrow = _WIDTH("candidates", candidates)
            if narrow is not None and self.matcher.bundle.manifest.is_dual_encoder:
                log.warning(
                    "candidates=%d means nothing here: this bundle is a dual encoder, whose search "
                    "scores every item by the product of the embeddings",
                    narrow,
                )
                narrow = None
        wide: int | None = pipeline.prefilter_width(modality)
        if prefilter is not FROM_BUNDLE:
            wide = _PREFILTER("prefilter", prefilter)
            if wide is not None:
                self._check_part("prefilter", self.matcher.prefilter)
        refined: int | None = None
        if candidates is FROM_BUNDLE:
            refined = pipeline.refine_width(modality)
        if refine is not FROM_BUNDLE:
            refined = _REFINE("refine", refine)
            if refined is not None:
                self._check_part("refiner", self.matcher.refiner)
        with stage("encode"):
            queries, single = self._encode(query, image)
        found: list[Hits] = []
        if len(queries):
            log.debug(
                "%d %s queries: k %d, prefilter %s, refine %s, candidates %s, re-ranked: %s",
                *(len(queries), modality, k, wide, refined, narrow, rerank),
            )
            if self._shards is not None:
                note_searched(*self._shards.searched)
                found = self._shards.searcher.search(queries, k, narrow, where, wide, refined)
            else:
                searcher, bank = self._current(reranking)
                note_searched(*searcher.searched)
                if reranking is not None:
                    found = reranking.search(
                        searcher,
                        queries,
                        k,
                        narrow,
                        where,
                        query_neighbours,
                        wide,
                        refined,
                        bank=bank,
                    )
                else:
                    found = searcher.search(queries, k, narrow, where, wide, refined)
        return found[0] if single else found

    @checked(query=TEXT, id=TEXT, step=_COUNT, attends=choice(Modality))
    def explain(
        self,
        query: str,
        id: str,
        *,
        step: int | None = None,
        attends: Modality | None = None,
    ) -> Explanation:
        """What matched between a query and an image of the gallery, from what is stored of it.

        Args:
            query: The text.
            id: The image's id, such as a hit's.
            step: The step or layer to show; by default the last one that enters the score.
            attends: Who attends, see `Matcher.explain`.

        Returns:
            The weights of every word and region, with the boxes that the gallery stores.

        Raises:
            BundleError: The bundle cannot explain, see `Matcher.explain`.
            GalleryError: The gallery holds texts, of which it has no words; or no such image.
            InputError: The text cannot be encoded, or there is no such step.
        """
        self.matcher.explainer.graph()
        if self.gallery.modality != "image":
            raise GalleryError(
                f"{self.gallery.path} holds texts as the model encoded them, not their words; "
                "explain with Matcher.explain(text, image)"
            )
        ((_, image, (placed,)),) = self._stored([id], boxes=True)
        matcher = self.matcher
        text, words = self._texts.encode([query]), matcher.text.tokens(query)
        return matcher.explainer.explanation(
            matcher.scorer, words, text, image, placed, step, attends
        )

    @checked(texts=each(TEXT), ids=each(TEXT))
    def score(self, texts: Sequence[str], ids: Sequence[str]) -> NDArray[np.float32]:
        """Scores of texts with images of the gallery, as a search gives them.

        Args:
            texts: The texts.
            ids: Ids of images; one may be there twice.

        Returns:
            ``float32 [n_texts, n_ids]``.

        Raises:
            GalleryError: The gallery holds texts, or no such image.
            InputError: A text cannot be encoded.
            ShardUnavailableError: A shard that has one of the images does not answer.
        """
        if self.gallery.modality != "image":
            raise GalleryError(f"{self.gallery.path} holds texts; score them with Matcher.score")
        names = list(dict.fromkeys(ids))
        queries = self._texts.encode(list(texts))
        scores = np.empty((len(queries), len(names)), np.float32)
        for places, images, _ in self._stored(names):
            scores[:, places] = self.matcher.scorer.score_all(queries, images)
        place = {name: number for number, name in enumerate(names)}
        return scores[:, [place[name] for name in ids]]

    def _stored(
        self, ids: Sequence[str], *, boxes: bool = False
    ) -> Iterator[tuple[NDArray[np.int64], Encoded, Sequence[Placed | None]]]:
        """Items of the gallery as they are stored, with their places in ``ids``, shard by shard."""
        if not ids:
            return
        if isinstance(self.gallery, Gallery):
            items = read_named(self.gallery, ids).encoded
            yield np.arange(len(ids)), items, self.gallery.boxes(ids) if boxes else ()
            return
        for places, stored in self.gallery.stored(ids):
            yield places, stored.encoded, stored.placed

    @property
    def searched(self) -> Searched | None:
        """The version of the gallery that searches use, and its number of items.

        Of shards it is the sum of their versions. None before the gallery is loaded, by `warm_up`
        or the first search. Costs nothing: nobody is asked.
        """
        if self._shards is not None:
            return self._shards.searched
        return self._searchers.searched

    @property
    def shards(self) -> tuple[ShardStatus, ...] | None:
        """What is known of the shards that are searched, None if the gallery has none.

        Costs nothing: nobody is asked.
        """
        return None if self._shards is None else self._shards.status

    @property
    def refresh_error(self) -> Exception | None:
        """What the last ``refresh(wait=False)`` failed of, None if it did not."""
        return self._refresh_error

    @checked(wait=FLAG)
    def refresh(self, wait: bool = True) -> bool:
        """Pick up what other processes have changed since the gallery and the bank were opened.

        A gallery that was made anew in the same place, by ``index(force=True)``, is picked up too.

        Args:
            wait: False returns at once and does the work in a thread of its own. What goes wrong
                there is logged as a warning and kept in `refresh_error`.

        Returns:
            Whether the gallery or the bank changed; False where that is not known yet, with
            ``wait=False``.

        Raises:
            BundleError: The bundle has no graphs for what a gallery stores now.
            GalleryError: A gallery is gone or damaged, or another bundle's or another modality's
                is in its place. Searches still find what they found.
        """
        if wait:
            return self._refresh(at_once)
        self._background.run()
        return False

    def _refresh(self, pause: Pause) -> bool:
        """Load what changed, beside the searches, and let them go over to it."""
        if self._shards is not None:
            return self._shards.refresh()
        gallery, reranking = self._searchers, self._reranking
        bank = None if reranking is None else reranking.bank
        with gallery.loading, nullcontext() if bank is None else bank.loading:
            later = gallery.prepare(pause)
            later_bank = None if bank is None else bank.prepare(pause)
            if reranking is not None and (later is not None or later_bank is not None):
                self._prepare_neighbourhood(
                    gallery.newest if later is None else later.searcher,
                    reranking.bank.newest if later_bank is None else later_bank.searcher,
                )
            with self._swapping:
                if later is not None:
                    gallery.swap(later)
                if bank is not None and later_bank is not None:
                    bank.swap(later_bank)
        return later is not None or later_bank is not None

    def _prepare_neighbourhood(self, gallery: Searcher | None, bank: Searcher | None) -> None:
        """What re-ranking needs of two versions, made before any search waits for it."""
        if self._reranking is not None and gallery is not None and bank is not None:
            self._reranking.neighbourhood(gallery, bank)

    def _keep_neighbourhoods(self, reranking: Reranking) -> None:
        """Have re-ranking follow the versions of the gallery and of the bank."""
        # Weak: in a circle all would be freed some time after nobody has it any more.
        of = weakref.ref(self)

        def before_swap(gallery: Searcher | None = None, bank: Searcher | None = None) -> None:
            if (retriever := of()) is not None:
                retriever._prepare_neighbourhood(
                    retriever._searchers.newest if gallery is None else gallery,
                    retriever._bank_newest if bank is None else bank,
                )

        def after_swap(before: Searcher) -> None:
            if (retriever := of()) is not None and retriever._reranking is not None:
                retriever._reranking.forget(before)

        self._searchers.before_swap = lambda later: before_swap(gallery=later)
        reranking.bank.before_swap = lambda later: before_swap(bank=later)
        self._searchers.after_swap = reranking.bank.after_swap = after_swap

    @property
    def _searchers(self) -> SearcherCache:
        """What holds the gallery, where it is not in shards."""
        assert self._cache is not None
        return self._cache

    @property
    def _bank_newest(self) -> Searcher | None:
        return None if self._reranking is None else self._reranking.bank.newest

    def _refresh_quietly(self) -> None:
        try:
            self._refresh(gently)
            self._refresh_error = None
        except Exception as error:
            told = str(self._refresh_error)
            self._refresh_error = _without_frames(error)
            if str(error) != told:
                log.warning("searches still find what they found: %s", error)

    def _current(self, reranking: Reranking | None) -> tuple[Searcher, Searcher | None]:
        """What searches the gallery, and the bank if it is needed, of versions that go together."""
        with nullcontext() if reranking is None else self._swapping:
            gallery = self._searchers.current
            bank = None if reranking is None else reranking.bank.current
        if gallery is None:
            gallery = self._searchers.searcher()
        if reranking is not None and bank is None:
            bank = reranking.bank.searcher()
        return gallery, bank

    def warm_up(self) -> None:
        """Load everything that a search touches now rather than at the first one.

        That is the gallery and the bank; and, by searches with a small random query, the encoder of
        the queries, the detector, filters, the prefilter, the refiner, the matcher at the
        pipeline's widths and the re-ranker.

        Raises:
            BundleError: The bundle has no graphs for what the gallery stores.
            EngineError: An engine is missing or does not fit.
            GalleryError: The gallery or the bank cannot be read, or the bank is too small.
            SetupError: A library is missing, or the device has too little memory.
        """
        reranking = self._reranking
        if self._shards is None:
            searcher, _ = self._current(None)
            if reranking is not None:
                reranking.neighbourhood(searcher)
        query = warm_query(self.matcher, other(self.gallery.modality))
        if not query:
            return
        # A random query may be one that the model cannot encode; then a real one will do it.
        with suppress(InputError):
            self.search(**query)
            self.search(**query, where="id = ''")
            if reranking is not None:
                # Too few items to re-rank are an error of the search that asks for it.
                with suppress(GalleryError):
                    self.search(**query, rerank=True)
            if self._shards is not None:
                queries, _ = self._encode(query.get("query"), query.get("image"))
                pipeline = self.matcher.bundle.manifest.pipeline
                modality = queries.modality
                width = pipeline.width(modality)
                chain = pipeline.prefilter_width(modality), pipeline.refine_width(modality)
                self._shards.warm(queries, 1, width, *chain)

    def close(self) -> None:
        """End what was started for this retriever: the actors of shards, and their local cluster.

        It searches no more then. Without shards there is nothing to end.
        """
        if self._shards is not None:
            self._shards.close()

    def _check_part(self, name: str, part: Scorer | None) -> None:
        if part is None:
            if self.matcher.bundle.manifest.is_dual_encoder:
                raise BundleError(
                    f"{self.matcher.bundle.path} is a dual encoder, whose search scores every item "
                    f"by one product; search without {name}"
                )
            raise BundleError(
                f"{self.matcher.bundle.path} has no {name}: its family has none, or an older "
                "itr-deploy exported it; search without, or export it again"
            )

    @property
    def reranks(self) -> bool:
        """Whether there is a bank to re-rank with."""
        return self._reranking is not None

    @property
    def takes_pictures(self) -> bool:
        """Whether pictures may be images: the model starts from pixels, or there is a detector."""
        manifest = self.matcher.bundle.manifest
        return bool(manifest.images.pictures) or self.matcher.detector is not None

    @property
    def compares_alike(self) -> bool:
        """Whether two items of one modality have a score too: one vector each, and a product."""
        manifest = self.matcher.bundle.manifest
        # An ensemble's shares are in its image vectors alone: two of those would have them twice.
        alone = manifest.images.views is None and not manifest.members
        return manifest.is_dual_encoder and alone

    def _encode(
        self, query: str | Sequence[str] | None, image: Unencoded | None
    ) -> tuple[Encoded, bool]:
        if (query is None) == (image is None):
            raise UsageError("give either a text query or image=, one of them")
        wanted = "image" if image is not None else "text"
        holds = self.gallery.modality
        if wanted == holds and not self.compares_alike:
            other = "image=" if holds == "text" else "a text"
            raise InputError(f"{self.gallery.path} holds {holds}s; search it with {other}")
        if query is not None:
            single = isinstance(query, str)
            return self._texts.encode([query] if isinstance(query, str) else query), single
        assert image is not None
        images, single = several_images(
            image, self.matcher.bundle.manifest.images, self.matcher.detector
        )
        return self.matcher.encode_images(images), single


def check_shards(
    sharded: bool,
    *,
    ray: str | None,
    replicas: int,
    missing_shards: Missing,
    shard_threads: int | None,
    bank: object,
) -> None:
    """Refuse what shards cannot do, and what is for shards alone.

    Raises:
        UsageError: Says what.
    """
    of_ray = {"replicas": replicas != 1, "shard_threads": shard_threads is not None}
    given = {"ray": ray is not None, **of_ray, "missing_shards": missing_shards != "refuse"}
    if not sharded and any(given.values()):
        name = next(name for name, is_given in given.items() if is_given)
        raise UsageError(
            f"{_named(name)} is for a gallery in shards; make them with itr-deploy shard, and give "
            "their shards.json as gallery= (--gallery)"
        )
    if sharded and bank is not None:
        raise UsageError(
            "bank= (--bank) is for re-ranking, which shards have not; search the whole gallery"
        )
    if ray is None and any(of_ray.values()):
        name = next(name for name, is_given in of_ray.items() if is_given)
        raise UsageError(f"{_named(name)} is of Ray's actors; give ray= (--ray) too")


def _named(argument: str) -> str:
    return f"{argument}= (--{argument.replace('_', '-')})"


def _without_frames(error: Exception) -> Exception:
    """An error that may be kept: its frames would keep in memory what was being read."""
    link: BaseException | None = error
    while link is not None:
        link.__traceback__ = None
        link = link.__cause__ or link.__context__
    return error
