"""A gallery's LanceDB table: opening, refreshing, asking, and locking for writing."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
from lancedb.table import Table

from itr_deploy.errors import GalleryError
from itr_deploy.runtime.forks import check_process
from itr_deploy.runtime.gallery.boundary import check_sound, gallery_errors, replaced_error
from itr_deploy.runtime.gallery.checksums import Verified
from itr_deploy.runtime.gallery.filters import filter_sql
from itr_deploy.runtime.gallery.fragments import Fragments
from itr_deploy.runtime.gallery.given import readable
from itr_deploy.runtime.gallery.layout import (
    ID,
    TABLE,
    Description,
    describe,
    filter_columns,
    metadata_columns,
    named,
    own_id,
)
from itr_deploy.runtime.gallery.location import Location, location_of
from itr_deploy.runtime.gallery.lock import DEFAULT_TIMEOUT, checked_timeout
from itr_deploy.runtime.gallery.moves import Move
from itr_deploy.runtime.gallery.sharding.shards import is_shards

log = logging.getLogger(__name__)

Answer = TypeVar("Answer")

ASKED = 256
"""Ids up to which LanceDB looks for them; of more, all that are there are read instead."""


@dataclass(frozen=True)
class Identity:
    """Which state of which gallery a table is in; equal only if every stored item is the same.

    A version alone does not tell: a gallery that was made anew in the place of another one counts
    from 1 again, and of two copies of a gallery each may have gone on by itself.

    Attributes:
        gallery: The gallery's own id, empty for one that an older release made.
        version: LanceDB's version number.
        manifest: SHA-256 of the version's manifest, empty if it cannot be read.
    """

    gallery: str
    version: int
    manifest: str


@dataclass(frozen=True)
class TableState:
    """The state of a table at one version.

    Attributes:
        identity: Which state of which gallery it is.
        schema: The columns.
        description: The gallery's description of itself.
        metadata_columns: Names of the user's columns.
    """

    identity: Identity
    schema: pa.Schema
    description: Description
    metadata_columns: tuple[str, ...]

    @property
    def version(self) -> int:
        """LanceDB's version number, raised by every change."""
        return self.identity.version


class GalleryTable:
    """An opened table. Safe to use from several threads; one process may write at a time.

    All that is asked of LanceDB goes through `ask` and `each`, which translate what it raises.

    LanceDB is asked for version and schema once per change, not at every search: it answers from a
    thread of its own, which takes as long as a small gallery's shortlist.
    """

    def __init__(
        self,
        location: Location,
        table: Table,
        lock_timeout: float = DEFAULT_TIMEOUT,
        *,
        is_snapshot: bool = False,
    ) -> None:
        """Wrap the opened table of a gallery; use `create` or `open`.

        Raises:
            GalleryError: The table is not a gallery.
        """
        self.location = location
        self.path = location.address
        self.lock_timeout = lock_timeout
        self._is_snapshot = is_snapshot
        self._lock = threading.Lock()
        self._opened = table, self._state_of(table)

    @classmethod
    def create(
        cls,
        path: str | Path | Location,
        layout: pa.Schema,
        lock_timeout: float = DEFAULT_TIMEOUT,
    ) -> GalleryTable:
        """Make an empty table.

        Raises:
            GalleryError: There is a gallery already.
            OutputError: The disk refuses the write.
        """
        location, timeout = _located(path), checked_timeout(lock_timeout)
        path = location.address if isinstance(path, Location) else path
        if is_shards(location.address):
            raise GalleryError(f"{path}: a gallery in shards is there; choose another place")
        with gallery_errors(path):
            database = location.connect()
            if location.has_table(database):
                raise GalleryError(
                    f"{path}: a gallery is there already; open it or delete it first"
                )
            table = database.create_table(TABLE, schema=layout)
        made = cls(location, table, timeout)
        with made.writing():
            return made

    @classmethod
    def open(
        cls, path: str | Path | Location, lock_timeout: float = DEFAULT_TIMEOUT
    ) -> GalleryTable:
        """Open a table at its latest version.

        Raises:
            GalleryError: The table is missing or damaged.
        """
        location, timeout = _located(path), checked_timeout(lock_timeout)

        def opened() -> GalleryTable:
            return cls(location, _open(location, walk=True), timeout)

        return location.steadily(opened)

    @property
    def lance(self) -> Table:
        """LanceDB's own table.

        Raises:
            SetupError: The process is a fork of one that used LanceDB.
        """
        check_process()
        return self._opened[0]

    @property
    def state(self) -> TableState:
        """The table's current state."""
        return self._opened[1]

    def ask(self, question: Callable[[Table], Answer], where: str | None = None) -> Answer:
        """Ask LanceDB's table something.

        Args:
            question: Does nothing but ask.
            where: The filter in the question, if there is one.

        Raises:
            GalleryError: What LanceDB raised, in one line.
            OutputError: The disk refuses a write.
        """
        with self._errors(where):
            answer = question(self.lance)
            check_sound(self.path, answer)
            return answer

    def each(
        self, question: Callable[[Table], Iterator[Answer]], where: str | None = None
    ) -> Iterator[Answer]:
        """As `ask`, of something with many answers; between them the caller's errors are its own.

        Raises:
            GalleryError: What LanceDB raised, in one line.
        """
        answers = self.ask(question, where)
        while True:
            with self._errors(where):
                answer = next(answers, None)
                check_sound(self.path, answer)
            if answer is None:
                return
            yield answer

    def sql(self, where: object) -> str:
        """A user's filter, checked, as LanceDB is given it.

        Raises:
            GalleryError: The filter is not understood.
        """
        return filter_sql(where, filter_columns(self.state.schema))

    def count(self, where: str | None = None) -> int:
        """Number of items, or of those that a filter keeps.

        Raises:
            GalleryError: The filter is not understood.
        """
        sql = None if where is None else self.sql(where)
        return int(self.ask(lambda table: table.count_rows(sql), where))

    def ids(self) -> list[str]:
        """The ids of all items."""
        found = self.ask(lambda table: table.search().select([ID]).limit(None).to_arrow())
        return found[ID].to_pylist()  # type: ignore[no-any-return]

    def present(self, names: Sequence[str]) -> set[str]:
        """Those of some ids that are there."""
        if len(names) > ASKED:
            return set(self.ids()).intersection(names)
        if not names:
            return set()
        sql = named(names)
        found = self.ask(
            lambda table: table.search().where(sql).select([ID]).limit(None).to_arrow()
        )
        return set(found[ID].to_pylist())

    def snapshot(self) -> GalleryTable:
        """A table that stays at this version, whatever is written meanwhile.

        Raises:
            GalleryError: The gallery was replaced, or the version cleaned up.
        """
        identity = self.state.identity
        if self.location.is_gone():
            raise replaced_error(self.path)

        def at_version(_: Table) -> Table:
            table: Table = self.location.connect().open_table(TABLE)
            table.checkout(identity.version)
            return table

        table = self.ask(at_version)
        made = GalleryTable(self.location, table, self.lock_timeout, is_snapshot=True)
        if made.state.identity != identity:
            raise replaced_error(self.path)
        return made

    def refresh(self, check: Callable[[TableState], None] = lambda state: None) -> None:
        """Go to the latest version of what is there now, be it another gallery.

        Args:
            check: May raise, for a state that is not to be gone to.

        Raises:
            GalleryError: The gallery is gone or damaged, or this is a snapshot.
            SetupError: The process is a fork of one that used LanceDB.
        """
        later = self.latest(check)
        if later is not None:
            self._go_to(later)

    def latest(
        self, check: Callable[[TableState], None] = lambda state: None
    ) -> GalleryTable | None:
        """Open the latest version beside this one, None if it is this one; see `refresh`.

        Raises:
            GalleryError: The gallery is gone or damaged, or this is a snapshot.
            SetupError: The process is a fork of one that used LanceDB.
        """
        check_process()
        self._refuse_if_snapshot()
        if self._is_latest():
            check(self.state)
            return None

        def opened() -> GalleryTable:
            # Anew: LanceDB takes a table made anew, of the same version, for the one it knows.
            return GalleryTable(self.location, _open(self.location, walk=False), self.lock_timeout)

        later = self.location.steadily(opened)
        check(later.state)
        return None if later.state.identity == self.state.identity else later

    def adopt(self, later: GalleryTable, before: Identity) -> bool:
        """Go to what `latest` opened, if this still is in the state ``before``."""
        return self._go_to(later, before)

    def _go_to(self, later: GalleryTable, expected: Identity | None = None) -> bool:
        with self._lock:
            before = self.state.identity
            if expected is not None and before != expected:
                return False
            self._opened = later._opened
        state = later.state
        if before.gallery != state.identity.gallery:
            log.info("%s: another gallery, version %d", self.path, state.version)
        elif before.version != state.version:
            log.info("%s: version %d, was %d", self.path, state.version, before.version)
        elif before != state.identity:
            log.info("%s: made anew, version %d", self.path, state.version)
        return True

    def overwrite(self, layout: pa.Schema, data: pa.RecordBatchReader) -> None:
        """Replace this table with one of another schema."""
        self.location.connect().create_table(TABLE, data=data, schema=layout, mode="overwrite")

    def renew(self) -> None:
        """Go to the version that this table itself has made; the caller holds `writing`.

        Raises:
            GalleryError: It cannot be read.
        """
        # Not opened anew: what LanceDB knows of the other files would be read again.
        table = self.lance
        with self._errors():
            table.checkout_latest()  # type: ignore[no-untyped-call]
        state = self._state_of(table)
        with self._lock:
            self._opened = table, state

    @contextmanager
    def writing(self, check: Callable[[TableState], None] = lambda state: None) -> Iterator[None]:
        """Hold the gallery's lock, starting from the latest version; see `refresh` for ``check``.

        Raises:
            GalleryBusyError: Another writer holds the lock for longer than the timeout.
            GalleryError: The gallery is gone or damaged, or this is a snapshot.
            OutputError: The gallery cannot be written to.
        """
        self._refuse_if_snapshot()
        with self.location.locked(self.lock_timeout):
            self.refresh(check)
            before = self.state.identity
            try:
                yield
            finally:
                self._after_writing(before)

    def check_contents(
        self, known: frozenset[str] = frozenset(), *, alone: bool = False
    ) -> frozenset[str]:
        """Compare all that a search of this version reads with its checksums, where it has any.

        Args:
            known: Names of files that were compared before and are not again.
            alone: Whether to read one file at a time, as others need the disk and the cores.

        Returns:
            The names of all files that were compared, now or before.

        Raises:
            GalleryError: A file is not as it was written.
        """
        return self.location.check_contents(self.state.version, known, alone=alone)

    def fragments(self, known: Fragments | None = None) -> Fragments | None:
        """The parts that this version consists of, None if they cannot be told."""
        return self.location.fragments(self.state.version, known)

    def moves(self, after: int) -> list[Move]:
        """What was moved between a version and this one, as far as it is known."""
        return self.location.moves(after, self.state.version)

    def verify(self) -> Verified:
        """As `check_contents`, but what has no checksum is an error.

        Raises:
            GalleryError: A file is not as it was written, or has no checksum.
        """
        return self.location.verify(self.state.version)

    def _refuse_if_snapshot(self) -> None:
        if self._is_snapshot:
            raise GalleryError(
                f"{self.path}: this is a snapshot, which stays at version {self.state.version}; "
                "change or refresh the gallery itself"
            )

    def _is_latest(self) -> bool:
        """Whether what is there now is known to be what was opened."""
        known = self.state.identity
        location = self.location
        if not known.manifest or location.latest_version() != known.version:
            return False
        return location.manifest_digest(known.version, known.gallery) == known.manifest

    def _after_writing(self, before: Identity) -> None:
        """Under the writer's lock, so that nobody else has written since."""
        self.renew()
        self.location.record(changed=self.state.identity != before)

    def _state_of(self, table: Table) -> TableState:
        with gallery_errors(self.path):
            version, layout = int(table.version), table.schema
        gallery_id = own_id(layout)
        digest = self.location.manifest_digest(version, gallery_id)
        identity = Identity(gallery_id, version, digest)
        columns = tuple(metadata_columns(layout))
        state = TableState(identity, layout, describe(layout, self.path), columns)
        for name in columns:
            if not readable(name):
                raise GalleryError(
                    f"{self.path}: its metadata column {name!r} cannot be read, which an older "
                    "itr-deploy did not know; index it again with another name"
                )
        return state

    @contextmanager
    def _errors(self, where: str | None = None) -> Iterator[None]:
        with gallery_errors(self.path, where, self._diagnosis):
            yield

    def _diagnosis(self) -> GalleryError | None:
        """What is wrong with the files, after LanceDB could not answer."""
        identity = self.state.identity
        digest = self.location.manifest_digest(identity.version, identity.gallery)
        if digest != identity.manifest:
            try:
                self.location.check_sizes()
            except GalleryError as error:
                return error
            return replaced_error(self.path)
        try:
            self.check_contents()
        except GalleryError as error:
            return error
        return None


def _located(path: str | Path | Location) -> Location:
    return path if isinstance(path, Location) else location_of(path)


def _open(location: Location, *, walk: bool) -> Table:
    """LanceDB's table of a gallery, at its latest version.

    Args:
        location: Where the gallery is.
        walk: Whether to look at every file, also at those without a checksum.

    Raises:
        GalleryError: The table is missing or damaged.
    """
    path = location.address
    if is_shards(path):
        raise GalleryError(
            f"{path}: a gallery in shards, which search and serve take; give one of the shards, "
            "each of them a gallery"
        )
    location.check_before_opening(walk=walk)
    with gallery_errors(path):
        database = location.connect()
        if not location.has_table(database):
            raise GalleryError(f"{path}: no gallery in it; make one with itr-deploy index")
        table: Table = database.open_table(TABLE)
        return table
