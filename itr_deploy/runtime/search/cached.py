"""A gallery and what searches it now; its next version is loaded beside that.

Searches take what is current without a lock. What was loaded takes its place in one assignment, and
is freed when the last search that began with it has ended.
"""

from __future__ import annotations

import logging
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from itr_deploy.errors import ItrDeployError
from itr_deploy.runtime.gallery import Gallery
from itr_deploy.runtime.gallery.gallery import adopt, latest
from itr_deploy.runtime.gallery.pausing import Pause, at_once, gently
from itr_deploy.runtime.gallery.table import Identity
from itr_deploy.runtime.matcher import Matcher
from itr_deploy.runtime.search.background import Background
from itr_deploy.runtime.search.loading import Loaded, Loader
from itr_deploy.runtime.search.searcher import Searched, Searcher

log = logging.getLogger(__name__)

LONGEST_WAIT = 5.0
"""Seconds for which a load waits until no search uses a version before the current one."""


class Older(NamedTuple):
    """A version that was searched before the current one; its bytes, and where they are."""

    searcher: weakref.ref[Searcher]
    bytes: int
    memory: int


@dataclass(frozen=True, eq=False)
class Ready:
    """A later version that is not searched yet.

    Attributes:
        loaded: What will search it; None if the gallery has not been searched at all.
        gallery: The gallery at that version, None if it is the one that is open.
        before: The state that the open gallery was in.
    """

    loaded: Loaded | None
    gallery: Gallery | None
    before: Identity

    @property
    def searcher(self) -> Searcher | None:
        """What will answer queries."""
        return None if self.loaded is None else self.loaded.searcher


class SearcherCache:
    """Loads a gallery when it is first searched, and what changes beside the searches.

    Safe to use from several threads.
    """

    def __init__(
        self,
        gallery: Gallery,
        matcher: Matcher,
        memory_budget: int,
        resident: bool | None,
    ) -> None:
        """Set up the cache; the first search loads the gallery.

        Args:
            gallery: The gallery.
            matcher: The matcher of the bundle that made the gallery.
            memory_budget: Bytes of the gallery's tensors that may be in memory, of two versions
                together while one takes the other's place.
            resident: True to load it whatever its size, False to leave it on disk, None to decide
                by the budget.
        """
        self.gallery = gallery
        self.loading = threading.RLock()
        """Held while a version is loaded and takes the current one's place."""
        self._matcher = matcher
        self._loader = Loader(matcher, memory_budget, resident)
        self._current: Loaded | None = None
        self._older: list[Older] = []
        self.before_swap: Callable[[Searcher], None] = lambda later: None
        """Called in the background with what will be searched, to make what else that needs."""
        self.after_swap: Callable[[Searcher], None] = lambda before: None
        """Called with what is not searched any more, to let go of it."""
        self._settling = Background(self._settle)

    @property
    def searched(self) -> Searched | None:
        """What searches find now, None before the first; LanceDB is not asked."""
        current = self._current
        return None if current is None else current.searched

    @property
    def loaded(self) -> Loaded | None:
        """What was loaded last, None before the first search."""
        return self._current

    @property
    def newest(self) -> Searcher | None:
        """The searcher that was loaded last, whatever happened to the gallery since."""
        current = self._current
        return None if current is None else current.searcher

    @property
    def current(self) -> Searcher | None:
        """The searcher of the gallery's current version, None if that is not loaded yet."""
        current = self._current
        if current is None or current.identity != self.gallery.identity:
            return None
        return current.searcher

    def searcher(self) -> Searcher:
        """The searcher of the gallery's current version; where that changed, it is loaded.

        Raises:
            BundleError: The bundle has no graphs for what the gallery stores.
            GalleryError: The gallery is damaged, another bundle's, or was replaced since it was
                opened.
        """
        found = self.current
        if found is not None:
            return found
        with self.loading:
            found = self.current
            if found is None:
                loaded = self._load(self.gallery, at_once, prompt=True)
                self._install(loaded)
                found = loaded.searcher
            return found

    def prepare(self, pause: Pause) -> Ready | None:
        """Load the latest version, which is searched after `swap`; None if nothing changed.

        The caller holds `loading`.

        Raises:
            BundleError: The bundle has no graphs for what the gallery stores now.
            GalleryError: The gallery is gone or damaged, or another bundle's or another modality's
                is in its place.
        """
        before = self.gallery.identity
        beside = latest(self.gallery, self._matcher)
        if self._current is None:
            return None if beside is None else Ready(None, beside, before)
        if beside is None and self._current.identity == before:
            return None
        now = self.gallery if beside is None else beside
        return Ready(self._load(now, pause, prompt=False), beside, before)

    def swap(self, ready: Ready) -> None:
        """Let searches go over to what was prepared; the caller holds `loading`."""
        if ready.loaded is not None:
            self._install(ready.loaded)
        if ready.gallery is not None:
            adopt(self.gallery, ready.gallery, ready.before)

    def settle(self) -> None:
        """Load the current version in the form that it should have, now that memory was freed."""
        current = self._current
        if current is not None and current.unsettled:
            self._settling.run()

    def _load(self, gallery: Gallery, pause: Pause, *, prompt: bool) -> Loaded:
        now = gallery.snapshot()
        now.check_bundle(self._matcher)
        current = self._current
        if current is not None:
            changed = self._loader.changed(now, current, pause, prompt=prompt)
            if changed is not None:
                return changed
            if not prompt:
                self._await_older()
        return self._loader.load(now, pause, self._bytes())

    def _install(self, loaded: Loaded) -> None:
        before, self._current = self._current, loaded
        if before is not None:
            self._older.append(Older(weakref.ref(before.searcher), before.bytes, before.memory))
            self.after_swap(before.searcher)
        if loaded.unsettled:
            self._settling.run()
        self._loader.encode_beside(loaded)

    def _await_older(self) -> None:
        """Wait until no search uses what came before the current version.

        So there are no more than two in memory. One that is kept for longer, such as by an error
        whose traceback somebody keeps, is counted.
        """
        end = time.monotonic() + LONGEST_WAIT
        while self._in_use() and time.monotonic() < end:
            time.sleep(0.01)

    def _in_use(self) -> list[Older]:
        """What came before the current version and is not free yet."""
        self._older = [one for one in self._older if one.searcher() is not None]
        return self._older

    def _bytes(self) -> int:
        """Bytes of all versions in memory; those that one was made of share them with it."""
        current = self._current
        if current is None:
            return 0
        counted = {current.memory: current.bytes}
        for one in self._in_use():
            counted[one.memory] = max(one.bytes, counted.get(one.memory, 0))
        return sum(counted.values())

    def _settle(self) -> None:
        """Load the current version once more, in the form that the memory is free for now."""
        with self.loading:
            before = self._current
            if before is None or not before.unsettled:
                return
            self._await_older()
            try:
                settled = self._loader.settled(before, gently, self._bytes() - before.bytes)
                if settled is not None:
                    self.before_swap(settled.searcher)
                    self._install(settled)
            except ItrDeployError as error:
                log.warning("%s: is searched as it is: %s", self.gallery.path, error)
