"""Pictures of a gallery's items, as a page shows them: upright, small, and nothing but pixels."""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

from itr_deploy.errors import InputError
from itr_deploy.runtime.pictures.decode import decoded
from itr_deploy.runtime.pictures.folder import SUFFIXES, picture_named
from itr_deploy.runtime.pictures.jpeg import as_jpeg
from itr_deploy.serving.refusals import RefusalError, not_found

SIDE, LEAST_SIDE, MOST_SIDE = 1024, 16, 2048
"""Pixels of the longer side: where nothing is said, and the bounds."""

ENDINGS = tuple(sorted(SUFFIXES))
"""In the order in which they are tried."""

KEPT_BYTES = 64 << 20
"""Of pictures that were shown, for the next time."""

AT_ONCE = 2
"""Pictures that are decoded at a time; searches need the cores too."""


@dataclass(frozen=True)
class Shown:
    """A picture: its JPEG, and a tag that changes with it."""

    content: bytes
    tag: str


class ShownPictures:
    """The pictures of a directory, named by items' ids, with or without the files' ending.

    Attributes:
        column: The gallery's column with the names; None if these are the ids.
    """

    def __init__(self, root: Path, column: str | None) -> None:
        """Store the directory.

        Raises:
            InputError: There is none.
        """
        if not root.is_dir():
            raise InputError(f"{root}: no such directory; check pictures= (--pictures)")
        self._root, self.column = root.resolve(), column
        self._kept: OrderedDict[tuple[str, int], Shown] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()
        self._decoding = asyncio.Semaphore(AT_ONCE)

    async def shown(self, name: str, side: int) -> Shown:
        """A picture whose longer side has at most so many pixels.

        Raises:
            RefusalError: There is none, or it cannot be decoded.
        """
        found = await asyncio.to_thread(self._found, name)
        if found is None:
            raise not_found(f"there is no picture of {name!r}")
        path, status = found
        known = f"{path}\0{status.st_size}\0{status.st_mtime_ns}\0{side}"
        tag = f'"{hashlib.sha256(known.encode("utf-8", "surrogateescape")).hexdigest()[:32]}"'
        with self._lock:
            if (kept := self._kept.get((tag, side))) is not None:
                self._kept.move_to_end((tag, side))
                return kept
        async with self._decoding:
            made = Shown(await asyncio.to_thread(_jpeg, path, name, side), tag)
        self._keep((tag, side), made)
        return made

    def _keep(self, key: tuple[str, int], made: Shown) -> None:
        with self._lock:
            if key not in self._kept:
                self._kept[key] = made
                self._bytes += len(made.content)
            while self._bytes > KEPT_BYTES:
                self._bytes -= len(self._kept.popitem(last=False)[1].content)

    def _found(self, name: str) -> tuple[Path, os.stat_result] | None:
        """The file of a picture and its state; never one outside of the directory."""
        path = picture_named(self._root, name, ENDINGS)
        try:
            return None if path is None else (path, path.stat())
        except OSError:  # removed meanwhile
            return None


def _jpeg(path: Path, name: str, side: int) -> bytes:
    """A picture's JPEG.

    Raises:
        RefusalError: It cannot be decoded.
    """
    try:
        return as_jpeg(decoded(path, name), side)
    except InputError as error:
        raise not_found(f"the picture cannot be shown: {error}") from error
    except MemoryError as error:
        raise RefusalError(503, "busy", "too little memory to show the picture", None, 5) from error
