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
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

_MARK = "itr-staging"
_NAME = re.compile(rf"\.(?P<of>.+)\.{_MARK}-[a-z0-9_]{{8}}", re.DOTALL)
_JUST_MADE = 3600.0
"""Seconds for which something empty may belong to a run that has not locked it yet."""


@dataclass(frozen=True)
class Resumption:
    """What lets a run go on with the directory that a stopped one has left.

    Attributes:
        content: What is being made, of what: a run goes on only with the same.
        is_sound: Whether what lies there can be gone on with.
    """

    content: bytes
    is_sound: Callable[[Path], bool]

    mark = ".itr-resumable"
    """The file that holds the content, for as long as the directory is staged."""

    def keep(self, directory: Path) -> None:
        """Let later runs go on with a staged directory, whatever ends this one."""
        if not self.is_kept(directory):
            # Half of it is none.
            (directory / self.mark).write_bytes(self.content)

    def is_kept(self, directory: Path) -> bool:
        """Whether a run that makes the same has kept a directory."""
        try:
            return (directory / self.mark).read_bytes() == self.content
        except OSError:
            return False

    def forget(self, directory: Path) -> None:
        """Take the file away, as what it is in is complete."""
        (directory / self.mark).unlink(missing_ok=True)


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
def staged(
    target: Path, parent: Path, *, directory: bool, resumption: Resumption | None = None
) -> Iterator[Path]:
    """A temporary file or directory of ``parent``, locked, and removed if it is still there.

    Args:
        target: What it will become; its name tells whose it is.
        parent: Where it is made.
        directory: Whether it is a directory; else an empty file.
        resumption: Lets it be the directory of a stopped run, and stay if this one is interrupted.
    """
    handle, path = _resumed(target, parent, resumption) or _made(target, parent, directory)
    stays = False
    try:
        yield path
    except KeyboardInterrupt:
        stays = resumption is not None and resumption.is_kept(path)
        raise
    finally:
        if not stays:
            _remove(path)
        os.close(handle)


def _made(target: Path, parent: Path, directory: bool) -> tuple[int, Path]:
    """A new file or directory, and an open handle of it, which is locked."""
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
    except BaseException:
        _remove(path)
        os.close(handle)
        raise
    return handle, path


def _resumed(target: Path, parent: Path, resumption: Resumption | None) -> tuple[int, Path] | None:
    """The directory of a stopped run to go on with, and its locked handle; None if there is none.

    Others that cannot be gone on with are removed.
    """
    for path in _staged_for(target, parent) if resumption is not None else ():
        try:
            handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY)
        except OSError:
            continue
        taken = False
        try:
            if _lock(handle, wait=False) and resumption is not None and resumption.is_kept(path):
                taken = resumption.is_sound(path)
                if not taken:
                    _remove(path)
        finally:
            if not taken:
                os.close(handle)
        if taken:
            return handle, path
    return None


def clear_leftovers(target: Path, parent: Path, resumption: Resumption | None = None) -> bool:
    """Remove what killed runs staged for ``target`` in ``parent``; True if there was something.

    What ``resumption`` goes on with stays.
    """
    found = False
    for path in _staged_for(target, parent):
        kept = resumption is not None and resumption.is_kept(path)
        if not kept and _is_abandoned(path):
            _remove(path)
            found = True
    return found


def _staged_for(target: Path, parent: Path) -> list[Path]:
    """What runs staged in ``parent``, whether they still go on or not."""
    found = []
    with suppress(OSError):
        for path in sorted(parent.iterdir()):
            name = _NAME.fullmatch(path.name)
            if name is not None and name["of"] == shortened(target.name):
                found.append(path)
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
