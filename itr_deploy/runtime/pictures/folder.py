"""The pictures below a directory."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path

from itr_deploy.errors import InputError

log = logging.getLogger(__name__)

SUFFIXES = frozenset(
    (
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp"),
        *(".tif", ".tiff", ".avif", ".heic", ".heif"),
    )
)
"""Ends of the names of pictures, in any case. A HEIC picture is not decoded, but it is one."""


def picture_named(root: Path, name: str, endings: Collection[str]) -> Path | None:
    """The file in a directory with a name, with or without its ending; None if there is none.

    Args:
        root: The directory; a file that a link leads out of it to is none of it.
        name: A picture's name, of anybody's.
        endings: Ends of the names of pictures, of which the first is taken.
    """
    for candidate in (name, *(name + ending for ending in endings)):
        path = root / candidate
        # Longer than a file's name may be, or of characters that none has.
        with suppress(OSError, ValueError):
            if (
                path.suffix.lower() in endings
                and path.is_file()
                and path.resolve().is_relative_to(root.resolve())
            ):
                return path
    return None


def picture_files(root: Path) -> dict[str, Path]:
    """The picture files below a directory, by their paths relative to it with ``/`` between parts.

    Hidden files and directories, whose names begin with a dot, are left out, and directories that
    are links.

    Returns:
        In the order of the relative paths.

    Raises:
        InputError: There is no such directory, it cannot be read, no picture is in it, or one has
            a name that is not UTF-8.
    """
    if root.is_file():
        raise InputError(f"{root}: a file; give the directory that it is in")
    if not root.is_dir():
        raise InputError(f"{root}: no such directory; check pictures= (--pictures)")
    others, unnamed = 0, list[Path]()
    found: dict[str, Path] = {}
    for path in _files(root):
        if path.suffix.lower() not in SUFFIXES:
            others += 1
        elif not _is_utf8(path):
            unnamed.append(path)
        else:
            found[path.relative_to(root).as_posix()] = path
    if unnamed:
        first = repr(os.fsencode(min(unnamed).relative_to(root)))
        where = os.fsencode(root).decode(errors="backslashreplace")
        if len(unnamed) == 1:
            said = f"the name {first} is not UTF-8, and ids are; rename the file"
        else:
            said = (
                f"{len(unnamed):,} names are not UTF-8, and ids are, such as {first}; rename them"
            )
        raise InputError(f"{where}: {said}")
    if not found:
        ends = ", ".join(sorted(SUFFIXES))
        raise InputError(f"{root}: no picture in it or below, no name ends in {ends}")
    log.info("%s: %d pictures, %d files of other kinds are left out", root, len(found), others)
    return dict(sorted(found.items()))


def _is_utf8(path: Path) -> bool:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def _files(root: Path) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        raise InputError(f"{error.filename}: {(error.strerror or str(error)).lower()}") from error

    for folder, folders, names in os.walk(root, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            path = Path(folder, name)
            # Pipes and devices would be waited for.
            if not name.startswith(".") and (path.is_file() or path.is_symlink()):
                yield path
