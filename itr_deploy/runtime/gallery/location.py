"""Where a gallery is, a local directory or an object store, and what is done there beside LanceDB.

LanceDB reads and writes both by itself. What this package adds to it differs: a directory has the
operating system's lock, checksums and files that others may exchange; `stores` has the other form.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import lancedb

from itr_deploy.errors import GalleryError, UsageError
from itr_deploy.paths import StoreUrl
from itr_deploy.runtime.gallery import checksums, files
from itr_deploy.runtime.gallery.boundary import damaged
from itr_deploy.runtime.gallery.checksums import Verified
from itr_deploy.runtime.gallery.fragments import Fragments, read_fragments
from itr_deploy.runtime.gallery.layout import TABLE
from itr_deploy.runtime.gallery.lock import HOLDER, LOCK, writer_lock
from itr_deploy.runtime.gallery.moves import Move, read_moves
from itr_deploy.runtime.gallery.old_versions import versions
from itr_deploy.values import GALLERY

Read = TypeVar("Read")


@dataclass(frozen=True)
class Files:
    """The files of a gallery, of all versions that are there."""

    files: int
    bytes: int
    versions: int


class Location(ABC):
    """A place for one gallery.

    Attributes:
        address: What LanceDB is given, and messages name.
    """

    address: str

    @abstractmethod
    def connect(self) -> Any:
        """LanceDB's database there."""

    @abstractmethod
    def check_before_opening(self, *, walk: bool) -> None:
        """Refuse what is no gallery or is known to be damaged; ``walk`` looks at every file.

        Raises:
            GalleryError: Says what is wrong.
        """

    @abstractmethod
    def steadily(self, read: Callable[[], Read]) -> Read:
        """Read once more where another gallery took this one's place meanwhile."""

    @abstractmethod
    def has_table(self, database: Any) -> bool:
        """Whether there is a gallery."""

    @abstractmethod
    def is_gone(self) -> bool:
        """Whether it is known that there is nothing any more."""

    @abstractmethod
    def latest_version(self) -> int:
        """The highest version, 0 if there is none."""

    @abstractmethod
    def manifest_digest(self, version: int, gallery_id: str) -> str:
        """See `files.manifest_digest`."""

    @abstractmethod
    def fragments(self, version: int, known: Fragments | None) -> Fragments | None:
        """See `fragments.read_fragments`."""

    @abstractmethod
    def moves(self, after: int, until: int) -> list[Move]:
        """See `moves.read_moves`."""

    @abstractmethod
    def locked(self, timeout: float) -> AbstractContextManager[None]:
        """Hold the writer's lock, see `lock.writer_lock`."""

    @abstractmethod
    def told_of_loss(self, stop: Callable[[], None]) -> AbstractContextManager[None]:
        """Call ``stop`` if the lock is lost within the block."""

    @abstractmethod
    def record(self, *, changed: bool) -> None:
        """Keep checksums of what was written; the caller holds the lock."""

    @abstractmethod
    def check_sizes(self) -> None:
        """See `checksums.check_sizes`."""

    @abstractmethod
    def check_contents(self, version: int, known: frozenset[str], *, alone: bool) -> frozenset[str]:
        """See `checksums.check_contents`."""

    @abstractmethod
    def verify(self, version: int) -> Verified:
        """See `checksums.verify`."""

    @abstractmethod
    def written_names(self) -> set[str]:
        """All files that a failed change may leave behind."""

    @abstractmethod
    def remove_unnamed(self, names: set[str]) -> None:
        """Remove those of some files that no version names."""

    @abstractmethod
    def files(self) -> Files:
        """Count the files."""


@dataclass(frozen=True)
class Directory(Location):
    """A gallery's local directory."""

    address: str

    @property
    def root(self) -> Path:
        """The table's directory."""
        return files.table_root(self.address)

    def connect(self) -> Any:
        """LanceDB's database there."""
        return lancedb.connect(self.address)

    def check_before_opening(self, *, walk: bool) -> None:
        """See `Location`."""
        root = self.root
        if not root.parent.is_dir():
            raise GalleryError(f"{self.address}: no such gallery; make one with itr-deploy index")
        odd = files.irregular(root) if walk else None
        if odd is not None:
            raise damaged(self.address, f"{odd} is not a regular file")
        checksums.check_sizes(self.address, root)

    def steadily(self, read: Callable[[], Read]) -> Read:
        """See `Location`."""
        return files.while_exchanged(self.root, read)

    def has_table(self, database: Any) -> bool:
        """See `Location`."""
        return TABLE in list(database.list_tables().tables)

    def is_gone(self) -> bool:
        """See `Location`; LanceDB would make a directory that is gone."""
        return not self.root.is_dir()

    def latest_version(self) -> int:
        """See `Location`."""
        return files.latest_version(self.root)

    def manifest_digest(self, version: int, gallery_id: str) -> str:
        """See `Location`."""
        return files.manifest_digest(self.root, version, gallery_id)

    def fragments(self, version: int, known: Fragments | None) -> Fragments | None:
        """See `Location`."""
        return read_fragments(self.root, version, known)

    def moves(self, after: int, until: int) -> list[Move]:
        """See `Location`."""
        return read_moves(self.root, after, until)

    def locked(self, timeout: float) -> AbstractContextManager[None]:
        """See `Location`."""
        return writer_lock(self.address, self.root, timeout)

    def told_of_loss(self, stop: Callable[[], None]) -> AbstractContextManager[None]:
        """See `Location`; the operating system's lock is not lost."""
        return nullcontext()

    def record(self, *, changed: bool) -> None:
        """See `Location`."""
        if changed or not checksums.recorded(self.root):
            checksums.record(self.address, self.root)

    def check_sizes(self) -> None:
        """See `Location`."""
        checksums.check_sizes(self.address, self.root)

    def check_contents(self, version: int, known: frozenset[str], *, alone: bool) -> frozenset[str]:
        """See `Location`."""
        return checksums.check_contents(self.address, self.root, version, known, alone=alone)

    def verify(self, version: int) -> Verified:
        """See `Location`."""
        return checksums.verify(self.address, self.root, version)

    def written_names(self) -> set[str]:
        """See `Location`."""
        return files.written_names(self.root)

    def remove_unnamed(self, names: set[str]) -> None:
        """See `Location`."""
        root = self.root
        for file in files.unnamed(root, [root / name for name in names]):
            file.unlink(missing_ok=True)

    def files(self) -> Files:
        """See `Location`."""
        root, sizes = self.root, []
        for file in root.rglob("*"):
            with suppress(OSError):
                if file.is_file() and file.name not in (LOCK, HOLDER):
                    sizes.append(file.stat().st_size)
        return Files(len(sizes), sum(sizes), len(versions(root)))


def location_of(path: object, options: Mapping[str, str] | None = None) -> Location:
    """Where a gallery is that a user names.

    Args:
        path: A directory, or the URL of a place in an object store.
        options: What LanceDB is told of the store besides the environment.

    Raises:
        GalleryError: It cannot be a directory's path.
        SetupError: The package that reads object stores is not installed.
        UsageError: It is no path, or a URL of another kind; or options are given for a directory.
    """
    where = GALLERY("path", path)
    if isinstance(where, StoreUrl):
        from itr_deploy.runtime.gallery.stores.store import Store

        return Store.of(where, options or {})
    if options:
        raise UsageError(f"storage_options= are an object store's, and {where} is a directory")
    return Directory(files.address_of(where))
