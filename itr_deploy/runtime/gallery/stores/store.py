"""A gallery's place in an object store."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import TIMEOUT_MAX
from typing import Any, TypeVar

import lancedb

from itr_deploy.errors import GalleryError
from itr_deploy.paths import StoreUrl
from itr_deploy.runtime.gallery import files
from itr_deploy.runtime.gallery.boundary import damaged
from itr_deploy.runtime.gallery.checksums import Verified
from itr_deploy.runtime.gallery.fragments import Fragments, fragments_in
from itr_deploy.runtime.gallery.layout import TABLE
from itr_deploy.runtime.gallery.location import Files, Location
from itr_deploy.runtime.gallery.lock import busy, lock_of
from itr_deploy.runtime.gallery.moves import Move
from itr_deploy.runtime.gallery.stores.client import PAGE, Client, Found
from itr_deploy.runtime.gallery.stores.lease import Lease, leased, lost
from itr_deploy.runtime.gallery.stores.options import Options, options_of

Read = TypeVar("Read")

ROOT = f"{TABLE}.lance/"
MANIFESTS = f"{ROOT}{files.VERSIONS}/"

_held: dict[str, Lease] = {}
"""The locks that this process holds, by the galleries' addresses."""


class Store(Location):
    """A gallery's place in an object store."""

    def __init__(self, url: StoreUrl, options: Options) -> None:
        """Connect to nothing yet; use `of`."""
        self.address = str(url)
        self._options = options
        self._client = Client(url, options)

    @classmethod
    def of(cls, url: StoreUrl, options: Mapping[str, str]) -> Store:
        """The place at a URL.

        Args:
            url: The URL.
            options: What LanceDB is told of the store besides the environment.

        Raises:
            SetupError: A package is not installed.
            UsageError: An option is not known.
        """
        return cls(url, options_of(url, options))

    def __repr__(self) -> str:
        return f"<Store {self.address!r}>"

    def connect(self) -> Any:
        """See `Location`."""
        return lancedb.connect(self.address, storage_options=dict(self._options.lance))

    def check_before_opening(self, *, walk: bool) -> None:
        """See `Location`; asks the store before LanceDB does, which would try for minutes."""
        if not self.latest_version():
            raise GalleryError(f"{self.address}: no such gallery; make one with itr-deploy index")

    def steadily(self, read: Callable[[], Read]) -> Read:
        """See `Location`; a gallery is replaced in one commit."""
        return read()

    def has_table(self, database: Any) -> bool:
        """See `Location`."""
        return self.latest_version() > 0

    def is_gone(self) -> bool:
        """See `Location`; opening tells."""
        return False

    def latest_version(self) -> int:
        """See `Location`."""
        page = self._client.first(MANIFESTS)
        names = [entry.name.removeprefix(ROOT) for entry in page]
        # Names count down from the largest number, so that the newest is the first. Those of older
        # releases of LanceDB count up, and a directory bucket lists in no order.
        if len(page) == PAGE and not (
            names == sorted(names) and len(Path(names[0]).stem) == files.DIGITS
        ):
            page = self._client.all(MANIFESTS)
        return max(map(_version, page), default=0)

    def manifest_digest(self, version: int, gallery_id: str) -> str:
        """See `Location`."""
        content = self._manifest(version)
        own = content and gallery_id.encode() in content
        return hashlib.sha256(content).hexdigest() if own else ""

    def fragments(self, version: int, known: Fragments | None) -> Fragments | None:
        """See `Location`."""
        return fragments_in(self._manifest(version), known)

    def moves(self, after: int, until: int) -> list[Move]:
        """See `Location`; nothing is compacted here."""
        return []

    @contextmanager
    def locked(self, timeout: float) -> Iterator[None]:
        """See `Location`."""
        own = lock_of(self.address)
        if not own.threads.acquire(timeout=min(timeout, TIMEOUT_MAX)):
            raise busy(self.address, "another thread of this process", timeout)
        try:
            if own.is_held:
                yield
                return
            with leased(self._client, timeout) as lease:
                own.is_held, _held[self.address] = True, lease
                try:
                    yield
                finally:
                    own.is_held = False
                    del _held[self.address]
        finally:
            own.threads.release()

    @contextmanager
    def told_of_loss(self, stop: Callable[[], None]) -> Iterator[None]:
        """See `Location`."""
        lease = _held[self.address]
        # Before the check, so that a loss after it is told.
        lease.on_loss.append(stop)
        try:
            lease.check()
            yield
        except Exception as error:
            if lease.is_lost:
                raise lost(self.address) from error
            raise
        finally:
            lease.on_loss.remove(stop)

    def record(self, *, changed: bool) -> None:
        """See `Location`; a store has checksums of its own."""

    def check_sizes(self) -> None:
        """See `Location`."""

    def check_contents(self, version: int, known: frozenset[str], *, alone: bool) -> frozenset[str]:
        """See `Location`."""
        return known

    def verify(self, version: int) -> Verified:
        """See `Location`: every object of the version is there, of the size that was written.

        Raises:
            GalleryError: One is not.
        """
        there = {found.name.removeprefix(ROOT): found.bytes for found in self._client.all(ROOT)}
        content = self._manifest(version)
        found = fragments_in(content, None)
        if found is None:
            raise damaged(self.address, f"the manifest of version {version} is not understood")
        sizes = dict(size for part in found.of.values() for size in part.sizes.items())
        for name, size in sizes.items():
            if name not in there:
                raise damaged(self.address, f"{name} is missing")
            if size and there[name] != size:
                raise damaged(self.address, f"{name} has {there[name]} bytes, {size} were written")
        return Verified(len(sizes) + 1, sum(there[name] for name in sizes) + len(content))

    def written_names(self) -> set[str]:
        """See `Location`."""
        found = (entry.name.removeprefix(ROOT) for entry in self._client.all(ROOT))
        return {name for name in found if name.partition("/")[0] in files.NAMED}

    def remove_unnamed(self, names: set[str]) -> None:
        """See `Location`; nothing without the lock, as another writer's may be among them."""
        lease = _held.get(self.address)
        if not names or lease is None or lease.is_lost:
            return
        entries = (entry.name for entry in self._client.all(MANIFESTS))
        contents = [got.bytes for name in entries if (got := self._client.read(name))]
        unnamed = [
            name
            for name in sorted(names)
            if not any(files.names(content, Path(name)) for content in contents)
        ]
        self._client.remove([ROOT + name for name in unnamed])

    def remove_all_but(self, version: int) -> None:
        """Remove other versions, and what this one does not name; the caller holds the lock.

        Manifests go before the objects that they name.
        """
        found = self._client.all(MANIFESTS)
        if version not in map(_version, found):
            return
        self._client.remove([entry.name for entry in found if _version(entry) not in (0, version)])
        self.remove_unnamed(self.written_names())

    def files(self) -> Files:
        """See `Location`."""
        found = [
            entry for entry in self._client.all(ROOT) if not entry.name.startswith(ROOT + files.OWN)
        ]
        versions = sum(_version(entry) > 0 for entry in found)
        return Files(len(found), sum(entry.bytes for entry in found), versions)

    def _manifest(self, version: int) -> bytes:
        """A version's manifest, empty if there is none."""
        for name in files.manifest_names(version):
            found = self._client.read(MANIFESTS + name)
            if found is not None:
                return found.bytes
        return b""


def _version(entry: Found) -> int:
    return files.version_of(entry.name.removeprefix(ROOT))
