"""Checksums of a gallery's files, kept beside them: what is read is what was written.

``items.lance/_itr_deploy/`` has size and SHA-256 of every file that a search reads (`recorded`),
written after every change, under the writer's lock. LanceDB never changes a file that a version
names, so that an entry stays true for as long as the file is there.
"""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from itr_deploy.bundle.files import sha256_of
from itr_deploy.errors import GalleryError, OutputError
from itr_deploy.runtime.gallery.boundary import damaged
from itr_deploy.runtime.gallery.files import (
    OWN,
    VERSIONS,
    latest_version,
    manifest_path,
    names,
    stored_names,
    version_of,
)
from itr_deploy.runtime.gallery.recorded import (
    CHECKSUMS,
    Recorded,
    StoredFile,
    add_recorded,
    read_recorded,
    write_recorded,
)

log = logging.getLogger(__name__)

_AT_ONCE = 2
"""Files that are read at once; more gain little on one disk."""


@dataclass(frozen=True)
class Verified:
    """What was compared with its checksum and found as it was written.

    Attributes:
        files: Number of files.
        bytes: Their bytes.
    """

    files: int
    bytes: int


def record(path: str, root: Path, *, anew: bool = False) -> None:
    """Add the files that are new to a gallery's checksums; the caller holds the writer's lock.

    A gallery of an older release gets its first ones: those of its files as they are now. The
    change was made before, so that a disk that refuses is a warning here, not an error.

    Args:
        path: The gallery, for messages.
        root: The table's directory.
        anew: Whether to write the whole record, without the files that are gone.
    """
    try:
        known, found = read_recorded(path, root), stored_names(root)
        old = known or {}
        names = sorted(found - old.keys())
        sums = zip(names, _sums(root, names), strict=True)
        new = {name: entry for name, entry in sums if entry is not None}
        if known is None or anew or not add_recorded(root, known, new):
            there = {name: entry for name, entry in old.items() if name in found}
            write_recorded(root, {**there, **new})
    except (OutputError, OSError) as error:
        log.warning("%s: no checksums of what was written: %s", path, error)


def take_over(root: Path, sources: Iterable[Path]) -> None:
    """Record the checksums of a new table that shares its data files with others.

    What is known of those is not read again.

    Args:
        root: The new table's directory.
        sources: Those of tables whose data files it has under the same names.

    Raises:
        GalleryError: A source's checksums cannot be read.
        OutputError: The disk refuses the write.
    """
    shared: dict[str, StoredFile] = {}
    for source in sources:
        known = read_recorded(str(source.parent), source) or {}
        shared |= {name: entry for name, entry in known.items() if not version_of(name)}
    found = sorted(stored_names(root))
    new = [name for name in found if name not in shared]
    sums = {**shared, **dict(zip(new, _sums(root, new), strict=True))}
    write_recorded(root, {name: entry for name in found if (entry := sums[name]) is not None})


def recorded(root: Path) -> bool:
    """Whether a gallery has checksums."""
    return (root / OWN / CHECKSUMS).is_file()


def check_sizes(path: str, root: Path) -> None:
    """Compare every file's size, and the latest manifest's bytes, with what was recorded.

    Costs little, whatever the gallery's size. A gallery of an older release has no checksums and
    passes.

    Raises:
        GalleryError: A file is not as it was written.
    """
    known = read_recorded(path, root)
    if known is None:
        return
    latest = latest_version(root)
    for name, entry in known.items():
        try:
            status = os.stat(f"{root}/{name}")  # noqa: PTH116 - thousands, at every refresh.
        except OSError as error:
            if version_of(name) > latest:
                raise damaged(path, f"{name} is missing, the gallery's newest state") from error
            # Of an old version that was cleaned up; LanceDB misses it if it is not.
            continue
        if not stat.S_ISREG(status.st_mode):
            raise damaged(path, f"{name} is not a regular file")
        if status.st_size != entry.bytes:
            raise damaged(path, f"{name} has {status.st_size} bytes, {entry.bytes} were written")
    manifest = manifest_path(root, latest)
    if manifest is not None:
        _compare(path, root, [manifest.relative_to(root).as_posix()], known)


def check_contents(
    path: str,
    root: Path,
    version: int,
    before: frozenset[str] = frozenset(),
    *,
    alone: bool = False,
) -> frozenset[str]:
    """Compare all that a search of a version reads with its checksums, where it has any.

    Args:
        path: The gallery, for messages.
        root: The table's directory.
        version: The version.
        before: Names of files that were compared before and are not again.
        alone: Whether to read one file at a time.

    Returns:
        The names of all files that were compared, now or before.

    Raises:
        GalleryError: A file is not as it was written.
    """
    known = read_recorded(path, root)
    if known is None:
        return before
    named = _named(root, version, known.keys() - before)
    _compare(path, root, named, known, 1 if alone else _AT_ONCE)
    return before.union(named)


def verify(path: str, root: Path, version: int) -> Verified:
    """Compare all that a search of a version reads with its checksums.

    Raises:
        GalleryError: A file is not as it was written, or something has no checksum.
    """
    known = read_recorded(path, root)
    if known is None:
        raise GalleryError(
            f"{path}: cannot be verified: an older itr-deploy made it, without checksums; index it "
            "again with force=True (--force), or add to it, which records them for its files as "
            "they are then"
        )
    found = stored_names(root) | known.keys()
    named = _named(root, version, found)
    _compare(path, root, named, known)
    without = [name for name in named if name not in known]
    if without:
        raise GalleryError(
            f"{path}: cannot be verified: {len(without)} of {len(named)} files have no checksum "
            f"(first {without[0]}): a writer was stopped after its change, or was not itr-deploy; "
            "index it again with force=True (--force), or add to it, which records them"
        )
    return Verified(len(named), sum(known[name].bytes for name in named))


def _named(root: Path, version: int, among: Iterable[str]) -> list[str]:
    """A version's manifest, and those of some files that it names."""
    manifest = manifest_path(root, version)
    if manifest is None:
        return []
    content = manifest.read_bytes()
    read = [
        name
        for name in sorted(among)
        if not name.startswith(VERSIONS) and names(content, Path(name))
    ]
    return [manifest.relative_to(root).as_posix(), *read]


def _compare(
    path: str, root: Path, chosen: Iterable[str], known: Recorded, at_once: int = _AT_ONCE
) -> None:
    listed = [name for name in chosen if name in known]
    wrong = [
        name
        for name, found in zip(listed, _sums(root, listed, at_once), strict=True)
        if found != known[name]
    ]
    if wrong:
        more = f", and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        missing = not (root / wrong[0]).exists()
        what = "is missing" if missing else "is not as it was written"
        raise damaged(path, f"{wrong[0]} {what}{more}")


def _sums(root: Path, files: list[str], at_once: int = _AT_ONCE) -> list[StoredFile | None]:
    """Size and digest of files, None for those that cannot be read."""

    def of(name: str) -> StoredFile | None:
        try:
            file = root / name
            return StoredFile(bytes=file.stat().st_size, sha256=sha256_of(file))
        except OSError:
            return None

    if len(files) < 2 or at_once < 2:
        return [of(name) for name in files]
    with ThreadPoolExecutor(at_once) as pool:
        return list(pool.map(of, files))
