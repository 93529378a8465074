"""Removing the versions of a gallery that nobody needs, and the files that no version names.

Those who search on disk read the version that they have opened until they refresh, so a version
stays for some time after the next one has taken its place.
"""

from __future__ import annotations

import re
import time
from collections.abc import Collection
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

from itr_deploy.runtime.gallery import checksums
from itr_deploy.runtime.gallery.files import (
    VERSIONS,
    latest_version,
    names,
    version_of,
    written_names,
)
from itr_deploy.runtime.gallery.moves import forget_moves

KEEP = 600.0
"""Seconds for which a version stays after the next one; readers refresh far more often."""

_WRITTEN_IN_MANIFESTS = re.compile(rb"[\w.-]+\.(?:lance|txn)")


def versions(root: Path) -> dict[int, Path]:
    """The manifests of all versions, by their numbers, rising."""
    found = {
        number: file
        for file in (root / VERSIONS).glob("*.manifest")
        if (number := version_of(f"{VERSIONS}/{file.name}"))
    }
    return dict(sorted(found.items()))


def remove_old(path: str, root: Path, keep: float, tagged: Collection[int] = ()) -> int:
    """Remove old versions and unnamed files; the caller holds the writer's lock.

    Manifests go before the files that they name: where this is interrupted, what is left is
    a whole gallery, and files that the next call removes.

    Args:
        path: The gallery, for messages.
        root: The table's directory.
        keep: Seconds; versions that were succeeded within them stay, and files written within them.
        tagged: Versions that stay in any case.

    Returns:
        The number of versions that were removed.
    """
    found, oldest, removed = versions(root), time.time() - keep, 0
    numbers = list(found)
    for number, following in pairwise(numbers):
        if number not in tagged and (not keep or _written(found[following]) <= oldest):
            found[number].unlink(missing_ok=True)
            removed += 1
    _remove_unnamed(root, None if not keep else oldest)
    forget_moves(root, oldest if keep else 0.0)
    checksums.record(path, root, anew=True)
    return removed


def expired(root: Path, keep: float) -> int:
    """Number of versions that `remove_old` would remove."""
    found, oldest = list(versions(root).values()), time.time() - keep
    return sum(_written(following) <= oldest for following in found[1:])


def _remove_unnamed(root: Path, oldest: float | None) -> None:
    manifests = [file.read_bytes() for file in versions(root).values()]
    if not latest_version(root):
        return
    files = written_names(root)
    # Before a name there is its length, which may look like a part of it.
    lengths = {len(name.rpartition("/")[2].encode()) for name in files}
    runs = {run for content in manifests for run in _WRITTEN_IN_MANIFESTS.findall(content)}
    named = {run[-length:] for run in runs for length in lengths}
    for name in files:
        file = root / name
        if file.name.encode() in named:
            continue
        # Of deletions and indices a manifest has only numbers.
        if name.startswith(("_deletions/", "_indices/")) and any(
            names(content, Path(name)) for content in manifests
        ):
            continue
        if oldest is None or _written(file) <= oldest:
            file.unlink(missing_ok=True)
    for folder in (root / "_indices").glob("*"):
        # Only those that are empty now.
        with suppress(OSError):
            folder.rmdir()


def _written(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except OSError:
        return float("inf")
