"""Temporary files and directories of runs, and the removal of those that killed runs left.

A run locks what it stages, and the system releases the lock when the run ends, however that is.
What can be locked has therefore no owner any more.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_MARK = "itr-staging"
_NAME = re.compile(rf"\.(?P<of>.+)\.{_MARK}-[a-z0-9_]{{8}}", re.DOTALL)
_JUST_MADE = 3600.0
"""Seconds for which something empty may belong to a run that has not locked it yet."""


def is_leftover(name: str) -> bool:
    """Whether a file name is one that staged files and directories have."""
    return _NAME.fullmatch(name) is not None


def entries(directory: Path) -> set[str]:
    """Names in a directory, without staged ones and without what a new file system holds."""
    names = {entry.name for entry in directory.iterdir()}
    return {name for name in names if not is_leftover(name)} - {"lost+found"}


def files_below(root: Path) -> dict[str, Path]:
    """Files in a directory and below, by their relative names, sorted; without staged ones."""
    own = [root / name for name in entries(root)]
    found = [path for top in own for path in (top, *top.rglob("*")) if path.is_file()]
    named = {path.relative_to(root): path for path in found}
    return {
        name.as_posix(): named[name]
        for name in sorted(named)
        if not any(map(is_leftover, name.parts))
    }


@contextmanager
def staged(target: Path, parent: Path, *, directory: bool) -> Iterator[Path]:
    """A temporary file or directory of ``parent``, locked, and removed if it is still there.

    Args:
        target: What it will become; its name tells whose it is.
        parent: Where it is made.
        directory: Whether it is a directory; else an empty file.
    """
    prefix = f".{shortened(target.name)}.{_MARK}-"
    if directory:
        path = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        handle = os.open(path, os.O_RDONLY)
    else:
        handle, name = tempfile.mkstemp(prefix=prefix, dir=parent)
        path = Path(name)
    try:
        # Waits for whoever just looks whether it is abandoned.
        _lock(handle, wait=True)
        yield path
    finally:
        _remove(path)
        os.close(handle)


def clear_leftovers(target: Path, parent: Path) -> bool:
    """Remove what killed runs staged for ``target`` in ``parent``; True if there was something."""
    found = False
    with suppress(OSError):
        for path in list(parent.iterdir()):
            name = _NAME.fullmatch(path.name)
            if name is not None and name["of"] == shortened(target.name) and _is_abandoned(path):
                _remove(path)
                found = True
    return found


def _is_abandoned(path: Path) -> bool:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        if not _lock(handle, wait=False):
            return False
        status = os.fstat(handle)
        empty = not any(path.iterdir()) if path.is_dir() else status.st_size == 0
        return not empty or time.time() - status.st_mtime > _JUST_MADE
    except OSError:
        return False
    finally:
        os.close(handle)


def shortened(name: str) -> str:
    """A name that leaves room for the mark in the 255 bytes that a file's name may have."""
    return os.fsdecode(os.fsencode(name)[:200])


def _lock(handle: int, *, wait: bool) -> bool:
    """Lock an open file or directory for as long as it is open; False if that is not possible."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        return False
    return True


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink(missing_ok=True)
