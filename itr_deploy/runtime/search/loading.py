"""Loads a version of a gallery for searching, from what is held of an earlier one where it can.

What is in memory keeps to the budget, also while one version is loaded beside another.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import pyarrow as pa

from itr_deploy.runtime.cpus import available_cores
from itr_deploy.runtime.gallery import Gallery
from itr_deploy.runtime.gallery.changes import change
from itr_deploy.runtime.gallery.held import Held
from itr_deploy.runtime.gallery.in_bytes import FROM, size
from itr_deploy.runtime.gallery.pausing import Pause, at_once, gently
from itr_deploy.runtime.gallery.table import Identity
from itr_deploy.runtime.matcher import Matcher
from itr_deploy.runtime.search.disk import DiskSearcher
from itr_deploy.runtime.search.memory import Size
from itr_deploy.runtime.search.narrowing import read_as_bytes
from itr_deploy.runtime.search.resident import ResidentSearcher
from itr_deploy.runtime.search.searcher import Searched, StagedSearcher

log = logging.getLogger(__name__)

GONE = 4
"""Where more than one in this many of the held items is gone, the gallery is loaded as a whole."""


@dataclass(frozen=True, eq=False)
class Loaded:
    """What searches one version of a gallery.

    Attributes:
        searcher: Answers queries.
        identity: Which state of which gallery it is of.
        schema: The table's columns.
        held: What is in memory, None if nothing is.
        checked: Names of the files that were compared with their checksums.
        unsettled: Whether it is to be loaded in another form, once the memory is free or nobody
            waits for it.
    """

    searcher: StagedSearcher
    identity: Identity
    schema: pa.Schema
    held: Held | None
    checked: frozenset[str]
    unsettled: bool

    @property
    def searched(self) -> Searched:
        """Its version and number of items."""
        return self.searcher.searched

    @property
    def bytes(self) -> int:
        """Bytes in memory."""
        return 0 if self.held is None else self.held.bytes

    @property
    def memory(self) -> int:
        """Where they are: the same of two versions that share them."""
        return 0 if self.held is None else self.held.memory


class Loader:
    """Loads versions of galleries of one bundle."""

    def __init__(self, matcher: Matcher, budget: int, resident: bool | None) -> None:
        """Set up; see `Retriever.load` for the arguments."""
        self._matcher = matcher
        self._budget = budget
        self._resident = resident

    def load(self, now: Gallery, pause: Pause = at_once, beside: int = 0) -> Loaded:
        """Load a version as a whole.

        Args:
            now: The version.
            pause: Called after every batch that is read.
            beside: Bytes of the version before, which are in memory until the end.

        Raises:
            GalleryError: The gallery cannot be read.
        """
        size = Size.of(now, self._budget)
        resident = self._wants_tensors(size) and self._fits(size, beside)
        log.info(
            "%s: %d items, version %d, %s: %.0f MB of tensors, a budget of %.0f MB",
            *(now.path, size.items, now.version, "in memory" if resident else "on disk"),
            *(size.bytes / 1e6, self._budget / 1e6),
        )
        late = self._wants_tensors(size) and not resident
        if late:
            log.info(
                "%s: searched on disk until %.0f MB of the version before are free, beside which "
                "it would exceed the budget",
                *(now.path, beside / 1e6),
            )
        if resident:
            return self._with_tensors(now, size, pause)
        if size.vectors_fit(beside):
            return self._made(now, size, self._read(now, pause, tensors=False), unsettled=late)
        return self._made(now, size, None, unsettled=late or size.vectors_fit())

    def changed(
        self, now: Gallery, before: Loaded, pause: Pause = at_once, *, prompt: bool = False
    ) -> Loaded | None:
        """Load what changed since an earlier version; None if it must be loaded as a whole.

        Args:
            now: The version.
            before: The newest that was loaded.
            pause: Called after every batch that is read.
            prompt: Whether a search waits for it. Then items that are gone keep their memory for
                now, however many they are.

        Raises:
            GalleryError: The gallery cannot be read.
        """
        held = before.held
        if held is None or held.fragments is None or before.schema != now.opened.state.schema:
            return None
        fragments = now.opened.fragments(held.fragments)
        if fragments is None:
            return None
        moves = now.opened.moves(before.identity.version)
        found = change(held.rows, held.places, held.fragments, fragments, now, moves)
        if found is None:
            return None
        gone = held.gone + len(found.gone)
        wasteful = gone * GONE > len(held)
        if len(found.new) > len(held) or (wasteful and not prompt):
            return None
        size = Size.of(now, self._budget)
        # What is gone takes as much as the rest on average; bytes are given up before tensors.
        waste = (held.bytes - held.in_bytes.bytes) * gone // max(1, len(held))
        if held.has_tensors and not self._fits(size, waste):
            held = held.without_tensors()
            waste = held.bytes * gone // max(1, len(held))
        if not held.has_tensors and not size.vectors_fit(waste):
            return None
        if not self._fits(size, waste + held.in_bytes.bytes):
            held = held.without_bytes()
        # Of the files to which items were moved nothing is read.
        checked = before.checked | found.carried
        if held.has_tensors:
            checked = now.opened.check_contents(checked, alone=pause is not at_once)
        held = held.changed(now, found, pause)
        log.info(
            "%s: %d items, version %d: %d read, %d gone, %.0f MB in memory, a budget of %.0f MB",
            *(now.path, size.items, now.version, len(found.new), len(found.gone)),
            *(held.bytes / 1e6, self._budget / 1e6),
        )
        late = wasteful or (self._wants_tensors(size) and not held.has_tensors)
        return self._made(now, size, held, checked, unsettled=late)

    def settled(self, before: Loaded, pause: Pause, beside: int = 0) -> Loaded | None:
        """Load a version once more in the form that it should have, None if it cannot have it yet.

        Args:
            before: The version as it is searched now.
            pause: Called after every batch that is read.
            beside: Bytes of still other versions that are in memory.

        Raises:
            GalleryError: The gallery cannot be read.
        """
        now, held = before.searcher.gallery, before.held
        size = Size.of(now, self._budget)
        if not self._wants_tensors(size):
            again = held is None or held.gone
            if again and size.vectors_fit(before.bytes + beside):
                return self._made(now, size, self._read(now, pause, tensors=False))
            return None
        # Without gaps the embeddings that are held are taken; then nothing is there twice.
        vectors = held if held is not None and not held.gone and not held.has_tensors else None
        if not self._fits(size, beside + (0 if vectors is not None else before.bytes)):
            return None
        log.info("%s: version %d, now in memory, as there is space", now.path, now.version)
        return self._with_tensors(now, size, pause, vectors)

    def encode_beside(self, loaded: Loaded) -> None:
        """Have codes and bytes of what is in memory made where there is much; searches go on.

        A dual encoder's scores are the products of the embeddings, and stay exact.
        """
        held, matcher = loaded.held, self._matcher
        if held is None or matcher.bundle.manifest.is_dual_encoder:
            return
        self._make_bytes(held)
        if held.codes.due(len(held)):
            backend = matcher.backend
            threads = backend.workers if backend.device == "cpu" else available_cores()
            held.codes.encode_beside(held.embedding, threads, gently)

    def _make_bytes(self, held: Held) -> None:
        """Have bytes of the tensors in memory made, if the budget has room for them."""
        names = read_as_bytes(self._matcher, held.about.modality)
        if not held.has_tensors or held.about.storage == "int8" or len(held) < FROM or not names:
            return
        if held.in_bytes.of(held.pools, names, held.encoded) is not None:
            return
        missing = size(held.pools, names) - held.in_bytes.bytes
        # Also where resident=True loads what exceeds it: nobody asked for these.
        if held.bytes + missing <= self._budget:
            held.in_bytes.make_beside(held.pools, names, gently)

    def _wants_tensors(self, size: Size) -> bool:
        return size.fits() if self._resident is None else self._resident

    def _fits(self, size: Size, beside: int) -> bool:
        # Who says resident=True means it whatever the budget.
        return self._resident is True or size.fits(beside)

    def _with_tensors(
        self, now: Gallery, size: Size, pause: Pause, vectors: Held | None = None
    ) -> Loaded:
        # A fraction of the time that reading takes; on disk it would be all of a load's.
        checked = now.opened.check_contents(alone=pause is not at_once)
        return self._made(now, size, self._read(now, pause, vectors, tensors=True), checked)

    def _read(
        self, now: Gallery, pause: Pause, vectors: Held | None = None, *, tensors: bool
    ) -> Held:
        spare = self._matcher.backend.device == "cpu"
        fragments = now.opened.fragments()
        return Held.load(
            now, fragments, tensors=tensors, spare=spare, pause=pause, vectors_of=vectors
        )

    def _made(
        self,
        now: Gallery,
        size: Size,
        held: Held | None,
        checked: frozenset[str] = frozenset(),
        *,
        unsettled: bool = False,
    ) -> Loaded:
        matcher = self._matcher
        stages = matcher.prefilter, matcher.projection, matcher.refiner
        searched = Searched(now.version, size.items)
        searcher: StagedSearcher
        if held is not None and held.has_tensors:
            searcher = ResidentSearcher(now, searched, matcher.scorer, held, *stages)
        else:
            searcher = DiskSearcher(now, searched, matcher.scorer, size, held, *stages)
        schema = now.opened.state.schema
        return Loaded(searcher, now.identity, schema, held, checked, unsettled)
