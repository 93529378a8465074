"""Files of a bundle whose bytes were checked, and stay those whatever happens at their paths.

A bundle may be replaced or removed while a service has it open, and most of its files are only
needed later. Small files are kept in memory. Of large ones the open file is kept, which the system
does not give up as long as somebody has it open; whoever uses it asks whether it was written over.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import stat
import weakref
from pathlib import Path

from itr_deploy.bundle.files import CHUNK
from itr_deploy.bundle.manifest import FileInfo
from itr_deploy.errors import BundleError

KEPT = 4 << 20
"""Bytes up to which a file is kept in memory."""


class BoundFile:
    """A file that has had its size and checksum compared with the manifest's."""

    def __init__(self, path: Path, root: Path, info: FileInfo, name: str) -> None:
        """Read a file and compare it.

        Args:
            path: Where it is, absolute.
            root: The bundle's directory, absolute.
            info: What the manifest says of it.
            name: What messages call it.

        Raises:
            BundleError: It is missing, no regular file, or not what the manifest says.
        """
        self.path = path
        self._name, self._info = name, info
        self._linked = path.resolve() != root.resolve() / path.relative_to(root)
        self._content: bytes | None = None
        self._mapped: mmap.mmap | None = None
        handle = self._handle = _open(path, name)
        closing = weakref.finalize(self, os.close, handle)
        try:
            self._seen = _signature(os.fstat(handle))
            if self._seen[2] != info.bytes:
                raise self._changed("copy or export the bundle again")
            if info.bytes <= KEPT:
                content = b"".join(_chunks(handle))
                digest = hashlib.sha256(content).hexdigest()
                self._content = content
                closing()
            else:
                digest = _digest(handle)
                self._mapped = mmap.mmap(handle, 0, access=mmap.ACCESS_READ)
        except OSError as error:
            raise BundleError(f"{name}: cannot be read: {error.strerror or error}") from error
        if digest != info.sha256:
            raise self._changed("copy or export the bundle again")

    @property
    def linked(self) -> bool:
        """Whether the file itself is a link, or lies in a linked directory of the bundle."""
        return self._linked

    @property
    def is_kept(self) -> bool:
        """Whether the content is kept in memory."""
        return self._content is not None

    def check_unwritten(self) -> None:
        """Refuse a large file that something has written into, or cut, since it was checked.

        Costs a microsecond. A file that was replaced or removed is still what it was.

        Raises:
            BundleError: It was written over.
        """
        if not self.is_kept:
            status = os.fstat(self._handle)
            if (status.st_size, status.st_mtime_ns) != self._seen[2:4]:
                raise self._changed("load the bundle again")

    def in_place(self) -> bool:
        """Whether the path still leads to the checked file, and nothing has written to it."""
        try:
            return _signature(self.path.stat()) == self._seen
        except OSError:
            return False

    def content(self) -> bytes | mmap.mmap:
        """The checked bytes; to be held as long as they are used.

        Raises:
            BundleError: Something wrote into the file itself.
        """
        if self._content is not None:
            return self._content
        assert self._mapped is not None
        # Reading past the end of a file that was cut would end the process.
        if self._mapped.size() != self._info.bytes:
            raise self._changed("load the bundle again")
        if hashlib.sha256(self._mapped).hexdigest() != self._info.sha256:
            raise self._changed("load the bundle again")
        return self._mapped

    def _changed(self, remedy: str) -> BundleError:
        return BundleError(
            f"{self._name} does not match its checksum, it was changed or damaged; {remedy}"
        )


def read_regular(path: Path) -> bytes:
    """The content of a regular file; others, such as a pipe, would keep the reader waiting.

    Raises:
        OSError: It cannot be read, or is not a regular file.
    """
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError("not a regular file")
        return b"".join(_chunks(handle))
    finally:
        os.close(handle)


def _open(path: Path, name: str) -> int:
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except FileNotFoundError as error:
        raise BundleError(f"{name} is missing; copy the bundle again") from error
    except (OSError, ValueError) as error:
        raise BundleError(f"{name}: cannot be read: {error}") from error
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise BundleError(f"{name} is not a regular file; copy the bundle again")
    return handle


def _chunks(handle: int) -> list[bytes]:
    chunks = []
    while chunk := os.read(handle, CHUNK):
        chunks.append(chunk)
    return chunks


def _digest(handle: int) -> str:
    digest = hashlib.sha256()
    while chunk := os.read(handle, CHUNK):
        digest.update(chunk)
    return digest.hexdigest()


def _signature(status: os.stat_result) -> tuple[int, ...]:
    """What changes when a file is replaced or written to."""
    return (
        status.st_dev,
        status.st_ino,
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
    )
