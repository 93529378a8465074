"""A gallery and the searcher of its current version."""

from __future__ import annotations

import logging
import threading

from itr_deploy.runtime.gallery import Gallery
from itr_deploy.runtime.gallery.read import stored_bytes
from itr_deploy.runtime.gallery.table import Identity
from itr_deploy.runtime.matcher import Matcher
from itr_deploy.runtime.search.disk import DiskSearcher
from itr_deploy.runtime.search.resident import ResidentSearcher
from itr_deploy.runtime.search.searcher import Searched, Searcher

log = logging.getLogger(__name__)


class SearcherCache:
    """Loads a gallery when it is first searched, and again when it has changed.

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
            memory_budget: Bytes of the gallery's tensors that may be in memory.
            resident: True to load it whatever its size, False to leave it on disk, None to decide
                by the budget.
        """
        self.gallery = gallery
        self._matcher = matcher
        self._budget = memory_budget
        self._resident = resident
        self._lock = threading.Lock()
        self._searcher: Searcher | None = None
        self._identity: Identity | None = None
        self._searched: Searched | None = None

    @property
    def searched(self) -> Searched | None:
        """What searches find now, None before the first; LanceDB is not asked."""
        return self._searched

    def searcher(self) -> Searcher:
        """The searcher of the gallery's current version; a new one only after a change.

        Raises:
            BundleError: The bundle has no graphs for what the gallery stores.
            GalleryError: The gallery is damaged, another bundle's, or was replaced since it was
                opened.
        """
        with self._lock:
            if self._searcher is None or self._identity != self.gallery.identity:
                now = self.gallery.snapshot()
                now.check_bundle(self._matcher)
                self._searcher = self._load(now)
                self._identity = now.identity
                self._searched = Searched(now.version, now.count())
            return self._searcher

    def _load(self, gallery: Gallery) -> Searcher:
        resident, size = self._resident, stored_bytes(gallery)
        if resident is None:
            resident = size <= self._budget
        log.info(
            "%s: %d items, version %d, %s: %.0f MB of tensors, a budget of %.0f MB",
            *(gallery.path, gallery.count(), gallery.version),
            *("in memory" if resident else "on disk", size / 1e6, self._budget / 1e6),
        )
        matcher = self._matcher
        stages = matcher.prefilter, matcher.projection
        if resident:
            # A fraction of the time that reading takes; on disk it would be all of a load's.
            gallery.opened.check_contents()
            return ResidentSearcher(gallery, matcher.scorer, *stages)
        return DiskSearcher(gallery, matcher.scorer, self._budget, *stages)
