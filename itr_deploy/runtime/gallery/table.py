"""A gallery's LanceDB table: opening, refreshing, locking for writing, and its description."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lancedb
import pyarrow as pa
from lancedb.table import Table

from itr_deploy.errors import GalleryError
from itr_deploy.runtime.forks import check_process
from itr_deploy.runtime.gallery.layout import ID, TABLE, Description, describe, metadata_columns
from itr_deploy.runtime.gallery.transaction import gallery_errors

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TableState:
    """The state of a table at one version.

    Attributes:
        version: LanceDB's version number, raised by every change.
        schema: The columns.
        description: The gallery's description of itself.
        metadata_columns: Names of the user's columns.
    """

    version: int
    schema: pa.Schema
    description: Description
    metadata_columns: tuple[str, ...]


class GalleryTable:
    """An opened table. Safe to use from several threads; one process may write at a time.

    LanceDB is asked for version and schema once per change, not at every search: it answers from a
    thread of its own, which takes as long as a small gallery's shortlist.
    """

    def __init__(self, path: str, table: Table) -> None:
        """Wrap an opened table; use `create` or `open`."""
        self.path = path
        self._table = table
        self._state: TableState | None = None
        self._lock = threading.Lock()

    @classmethod
    def create(cls, path: str | Path, layout: pa.Schema) -> GalleryTable:
        """Make an empty table.

        Raises:
            GalleryError: There is a gallery already.
            OutputError: The disk refuses the write.
        """
        with gallery_errors(path):
            database = lancedb.connect(str(path))
            if TABLE in _table_names(database):
                raise GalleryError(
                    f"{path}: a gallery is there already; open it or delete it first"
                )
            return cls(str(path), database.create_table(TABLE, schema=layout))

    @classmethod
    def open(cls, path: str | Path) -> GalleryTable:
        """Open a table at its latest version.

        Raises:
            GalleryError: The table is missing or damaged.
        """
        if "://" not in str(path) and not Path(path).is_dir():
            raise GalleryError(f"{path}: no such gallery; make one with itr-deploy index")
        with gallery_errors(path):
            database = lancedb.connect(str(path))
            if TABLE not in _table_names(database):
                raise GalleryError(f"{path}: no gallery in it; make one with itr-deploy index")
            return cls(str(path), database.open_table(TABLE))

    @property
    def lance(self) -> Table:
        """LanceDB's own table.

        Raises:
            SetupError: The process is a fork of one that used LanceDB.
        """
        check_process()
        return self._table

    @property
    def state(self) -> TableState:
        """The table's current state.

        Raises:
            GalleryError: The table is not a gallery.
        """
        state = self._state
        if state is None:
            with self._lock:
                state = self._state = self._state or self._read_state()
        return state

    def _read_state(self) -> TableState:
        with gallery_errors(self.path):
            version, layout = int(self._table.version), self._table.schema
        return TableState(
            version, layout, describe(layout, self.path), tuple(metadata_columns(layout))
        )

    def count(self, where: str | None = None) -> int:
        """Number of items, or of those that a filter keeps.

        Raises:
            GalleryError: The filter is not understood.
        """
        with gallery_errors(self.path, where):
            return int(self._table.count_rows(where))

    def ids(self) -> list[str]:
        """The ids of all items."""
        with gallery_errors(self.path):
            found = self._table.search().select([ID]).limit(None).to_arrow()
        return found[ID].to_pylist()  # type: ignore[no-any-return]

    def snapshot(self) -> GalleryTable:
        """A table that stays at this version, whatever is written meanwhile."""
        version = self.state.version
        with gallery_errors(self.path):
            table = lancedb.connect(self.path).open_table(TABLE)
            table.checkout(version)
        return GalleryTable(self.path, table)

    def refresh(self) -> None:
        """Go to the latest version, which another process may have written."""
        before = self._state
        with gallery_errors(self.path):
            self._table.checkout_latest()  # type: ignore[no-untyped-call]
        self._changed()
        if before is not None and before.version != self.state.version:
            log.info("%s: version %d, was %d", self.path, self.state.version, before.version)

    def overwrite(self, layout: pa.Schema, data: pa.RecordBatchReader) -> None:
        """Replace this table with one of another schema."""
        table = lancedb.connect(self.path).create_table(
            TABLE, data=data, schema=layout, mode="overwrite"
        )
        with self._lock:
            self._table, self._state = table, None

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Allow one write at a time in this process, starting from the latest version."""
        with _lock_of(self.path):
            self.refresh()
            try:
                yield
            finally:
                self._changed()

    def _changed(self) -> None:
        # Under the lock: a state that another thread read before the change must not be stored
        # after it.
        with self._lock:
            self._state = None


_locks: dict[str, threading.RLock] = {}
_locks_lock = threading.Lock()


def _lock_of(path: str) -> threading.RLock:
    """A gallery's lock, shared by everything in this process that has the gallery open."""
    key = path if "://" in path else str(Path(path).resolve())
    with _locks_lock:
        return _locks.setdefault(key, threading.RLock())


def _table_names(database: Any) -> list[str]:
    return list(database.list_tables().tables)
