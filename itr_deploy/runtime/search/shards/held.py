"""A shard that this process holds."""

from __future__ import annotations

import os
import socket
import threading
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any

import numpy as np

from itr_deploy.runtime.encoding.encoded import Encoded
from itr_deploy.runtime.gallery import Gallery
from itr_deploy.runtime.gallery.pausing import gently
from itr_deploy.runtime.gallery.read import read_named
from itr_deploy.runtime.gallery.sharding.shards import check_own
from itr_deploy.runtime.gallery.table import Identity
from itr_deploy.runtime.matcher import Matcher
from itr_deploy.runtime.ranking import contenders
from itr_deploy.runtime.search.cached import SearcherCache
from itr_deploy.runtime.search.loading import Loaded
from itr_deploy.runtime.search.narrowing import Narrowing
from itr_deploy.runtime.search.searcher import StagedSearcher
from itr_deploy.runtime.search.shards.shard import (
    Found,
    Matched,
    Nearest,
    Rows,
    Scores,
    ShardState,
    StaleError,
    Stored,
)


@dataclass(frozen=True)
class Part:
    """Which items a shard has: those of a number, of so many."""

    number: int
    of: int


class HeldShard:
    """A `Shard` in this process: one gallery, loaded now, and the version before for a while."""

    def __init__(
        self,
        matcher: Matcher,
        gallery: Gallery,
        part: Part,
        *,
        memory_budget: int,
        resident: bool | None,
        kept: float,
    ) -> None:
        """Load the gallery.

        Args:
            matcher: The matcher of the bundle that made it.
            gallery: The shard.
            part: Which items it must have, and no others.
            memory_budget: Bytes of tensors to keep in memory.
            resident: See `Retriever.load`.
            kept: Seconds for which a version is kept after it was succeeded, for searches that
                began with it.

        Raises:
            BundleError: The bundle has no graphs for what the gallery stores.
            GalleryError: The gallery is damaged or another bundle's, or has an item of another
                shard.
        """
        gallery.check_bundle(matcher)
        self._part, self._kept = part, kept
        self._cache = SearcherCache(gallery, matcher, memory_budget, resident)
        self._before: tuple[StagedSearcher, float] | None = None
        self._checked = 0, 0
        self._cache.searcher()
        self._check_ids(self._loaded)

    def state(self) -> ShardState:
        """What is searched now."""
        now = self._loaded
        about = now.searcher.gallery.description
        return ShardState(
            now.identity,
            now.searched.items,
            about.modality,
            about.encoding_id,
            now.schema,
            f"{socket.gethostname()}:{os.getpid()}",
        )

    def nearest(self, queries: Encoded, width: int, where: str | None) -> Nearest:
        """The coarse stage; see `Shard`."""
        now = self._loaded
        return Nearest(now.identity, *now.searcher.nearest(queries, width, where))

    def narrowed(
        self, of: Identity, queries: Encoded, rows: Sequence[Rows], part: Narrowing
    ) -> list[Scores]:
        """The scores of a part of the matcher; see `Shard`."""
        return self._searcher(of).narrowed(queries, rows, part)

    def matched(self, of: Identity, queries: Encoded, rows: Sequence[Rows], k: int) -> Matched:
        """The matcher's scores; see `Shard`."""
        searcher = self._searcher(of)
        scores = searcher.matched(queries, rows)
        chosen = [contenders(row, k) for row in scores]
        found = [
            _found(searcher, own[best], row[best])
            for own, row, best in zip(rows, scores, chosen, strict=True)
        ]
        return Matched(of, found)

    def exhaustive(self, queries: Encoded, k: int, where: str | None) -> Matched:
        """The matcher's scores of all items; see `Shard`."""
        now = self._loaded
        found = now.searcher.exhaustive(queries, k, where)
        return Matched(now.identity, [_found(now.searcher, one.rows, one.scores) for one in found])

    def stored(self, ids: Sequence[str]) -> Stored:
        """Items by their ids; see `Shard`."""
        gallery = self._loaded.searcher.gallery
        placed = gallery.boxes(ids) if gallery.modality == "image" else [None] * len(ids)
        return Stored(read_named(gallery, ids).encoded, placed)

    def lookup(self, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        """The user columns of items that are there; see `Shard`."""
        return self._loaded.searcher.gallery.lookup(ids)

    def count(self, where: str | None) -> int:
        """Number of items that a filter keeps."""
        return self._loaded.searcher.gallery.count(where)

    def warm(
        self,
        queries: Encoded,
        k: int,
        candidates: int | None,
        prefilter: int | None,
        refine: int | None,
    ) -> None:
        """Search once; see `Shard`."""
        self._loaded.searcher.search(queries, k, candidates, None, prefilter, refine)

    def refresh(self) -> ShardState:
        """Go over to the newest version; see `Shard`.

        Raises:
            BundleError: The bundle has no graphs for what the gallery stores now.
            GalleryError: The gallery is gone or damaged, another bundle's is in its place, or it
                has an item of another shard. Searches still find what they found.
        """
        with self._cache.loading:
            later = self._cache.prepare(gently)
            if later is not None and later.loaded is not None:
                self._check_ids(later.loaded)
                before = self._loaded.searcher
                self._before = before, monotonic() + self._kept
                self._cache.swap(later)
                self._forget_later(before)
        return self.state()

    @property
    def _loaded(self) -> Loaded:
        loaded = self._cache.loaded
        assert loaded is not None
        return loaded

    def _searcher(self, of: Identity) -> StagedSearcher:
        """What searches a state.

        Raises:
            StaleError: It is not there any more.
        """
        now, before = self._loaded, self._before
        if now.identity == of:
            return now.searcher
        if before is not None and before[0].gallery.identity == of and monotonic() < before[1]:
            return before[0]
        raise StaleError(
            f"version {of.version} is not searched any more, {now.identity.version} is"
        )

    def _forget_later(self, before: StagedSearcher) -> None:
        # Weak: what another refresh takes the place of is free at once.
        timer = threading.Timer(self._kept, self._forget, (weakref.ref(before),))
        timer.daemon = True
        timer.start()

    def _forget(self, before: weakref.ref[StagedSearcher]) -> None:
        # Another refresh may have put another version there.
        if self._before is not None and self._before[0] is before():
            self._before = None
        # What was kept may be why the version after it stays on disk.
        self._cache.settle()

    def _check_ids(self, loaded: Loaded) -> None:
        """Refuse a gallery that has items of other shards.

        Of items that are held, those that were checked before are not checked again.
        """
        held, gallery = loaded.held, loaded.searcher.gallery
        ids = np.array(gallery.ids(), dtype=np.str_) if held is None else held.ids
        known = self._checked[1] if held is not None and held.memory == self._checked[0] else 0
        new = ids[known:]
        if held is not None and held.there is not None:
            new = new[held.there[known:]]
        check_own(gallery.path, list(new), self._part.number, self._part.of)
        self._checked = (loaded.memory, len(ids)) if held is not None else (0, 0)


def _found(searcher: StagedSearcher, rows: Rows, scores: Scores) -> Found:
    ids, metadata = searcher.described(rows)
    return Found(ids, scores, metadata)
