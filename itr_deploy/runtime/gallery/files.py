"""The files of a gallery's table in a local directory.

LanceDB never changes a file once a version names it. A version is a file in ``_versions``, its
manifest, which names data files, deletions, indices and the transaction that made it.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeVar
from uuid import UUID

from itr_deploy.errors import GalleryError
from itr_deploy.runtime.gallery.layout import TABLE
from itr_deploy.values import PATH

OWN = "_itr_deploy"
"""Folder in the table's directory with what this package keeps beside LanceDB's files."""
VERSIONS = "_versions"
_READ = ("data", "_deletions", "_indices")
NAMED = (*_READ, "_transactions")
_LAST = 2**64 - 1
DIGITS = 20
_ATTEMPTS = 5

Read = TypeVar("Read")


def address_of(path: object) -> str:
    """What LanceDB is given for a path: its absolute form, which is never a URL.

    Raises:
        GalleryError: It cannot be a directory's path.
        UsageError: It is no path.
    """
    text = os.fspath(PATH("path", path))
    if not isinstance(text, str) or not text or "\0" in text:
        raise GalleryError(f"{text!r:.80} cannot be a gallery's directory; give a plain path")
    try:
        address = os.path.abspath(text)  # noqa: PTH100 - unlike Path.absolute, it drops "..".
        with suppress(FileNotFoundError, NotADirectoryError, PermissionError):
            Path(address).stat()
    except (ValueError, OSError) as error:
        # Among them a name that is too long, a ring of links and half of a surrogate pair.
        said = getattr(error, "strerror", None) or error
        raise GalleryError(f"{text!r:.80} cannot be a gallery's directory: {said}") from error
    return address


def table_root(address: str) -> Path:
    """The table's directory."""
    return Path(address) / f"{TABLE}.lance"


def manifest_path(root: Path, version: int) -> Path | None:
    """A version's manifest, None if there is none."""
    folder = root / VERSIONS
    return next(
        (folder / name for name in manifest_names(version) if (folder / name).is_file()), None
    )


def manifest_names(version: int) -> tuple[str, str]:
    """What a version's manifest may be called, now and in older releases of LanceDB."""
    return f"{_LAST - version:0{DIGITS}d}.manifest", f"{version}.manifest"


def while_exchanged(root: Path, read: Callable[[], Read]) -> Read:
    """Read a table's directory, again where another one took its place meanwhile.

    Half of what was read is then of the old gallery and half of the new.
    """
    for _ in range(_ATTEMPTS):
        before = _inode(root)
        try:
            return read()
        except GalleryError:
            if _inode(root) == before:
                raise
    return read()


def _inode(root: Path) -> tuple[int, int] | None:
    try:
        status = root.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def irregular(directory: Path) -> Path | None:
    """The first entry that is neither a file nor a directory: a device or a pipe, or a link to one.

    Reading one may never end.
    """
    for folder, folders, files in os.walk(directory):
        for name in (*folders, *files):
            path = Path(folder) / name
            try:
                kind = path.stat().st_mode
            except OSError:
                # Gone meanwhile, or a link to nowhere: who reads it will say so.
                continue
            if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
                return path.relative_to(directory.parent)
    return None


def latest_version(root: Path) -> int:
    """The highest version that has a manifest, 0 if there is none."""
    try:
        found = os.listdir(root / VERSIONS)  # noqa: PTH208 - thousands, at every refresh.
    except OSError:
        return 0
    ending = ".manifest"
    return max(
        (_version(name[: -len(ending)]) for name in found if name.endswith(ending)), default=0
    )


def version_of(name: str) -> int:
    """The version whose manifest a file is, by its name in the table's directory; else 0."""
    path = Path(name)
    return _version(path.stem) if path.parts[0] == VERSIONS and path.suffix == ".manifest" else 0


def manifest_digest(root: Path, version: int, gallery_id: str) -> str:
    """SHA-256 of a version's manifest, empty if it cannot be read here or is another gallery's.

    Names of data files are random, and a manifest names them all: no two states of galleries have
    equal manifests.
    """
    try:
        path = manifest_path(root, version)
        content = b"" if path is None else path.read_bytes()
        own = content and gallery_id.encode() in content
        return hashlib.sha256(content).hexdigest() if own else ""
    except OSError:
        return ""


def stored_files(root: Path) -> Iterator[Path]:
    """All files that a search reads at one version or another, relative to ``root``."""
    for folder in (*_READ, VERSIONS):
        for name in sorted(_listed(root, folder)):
            if folder != VERSIONS or name.endswith(".manifest"):
                yield Path(name)


def written_files(root: Path) -> set[Path]:
    """All files that a failed change may leave behind: those that manifests name."""
    return {root / name for folder in NAMED for name in _listed(root, folder)}


def stored_names(root: Path) -> set[str]:
    """As `stored_files`, as texts: there may be thousands, and every change looks."""
    found = {name for folder in _READ for name in _listed(root, folder)}
    return found | {name for name in _listed(root, VERSIONS) if name.endswith(".manifest")}


def written_names(root: Path) -> set[str]:
    """As `written_files`, as texts relative to ``root``."""
    return {name for folder in NAMED for name in _listed(root, folder)}


def _listed(root: Path, folder: str) -> list[str]:
    """The files below a folder, relative to ``root``, with ``/`` between their parts."""
    found, waiting = list[str](), [folder]
    while waiting:
        inner = waiting.pop()
        try:
            with os.scandir(root / inner) as entries:
                for entry in entries:
                    name = f"{inner}/{entry.name}"
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(name)
                    elif entry.is_file():
                        found.append(name)
        except FileNotFoundError:
            continue
    return found


def unnamed(root: Path, files: Iterable[Path]) -> list[Path]:
    """Those of the files that no version names."""
    manifests = [file.read_bytes() for file in (root / VERSIONS).glob("*.manifest")]
    return [
        file
        for file in files
        if not any(names(manifest, file.relative_to(root)) for manifest in manifests)
    ]


def names(manifest: bytes, file: Path) -> bool:
    """Whether a manifest names a file; where this cannot be told, it does."""
    folder = file.parts[0]
    try:
        if folder == "_indices":
            return UUID(file.parts[1]).bytes in manifest
        if folder == "_deletions":
            # {fragment}-{version}-{number}, of which the manifest has the numbers alone.
            return _varint(int(file.stem.split("-")[2])) in manifest
    except (ValueError, IndexError):
        return True
    return file.name.encode() in manifest


def _version(stem: str) -> int:
    if not stem.isdigit():
        return 0
    return _LAST - int(stem) if len(stem) == DIGITS else int(stem)


def _varint(number: int) -> bytes:
    """A number as protocol buffers write it."""
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    found.append(number)
    return bytes(found)
