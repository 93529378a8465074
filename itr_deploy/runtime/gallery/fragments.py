"""What LanceDB's manifest of a version says of its fragments, the parts that a table consists of.

An item's row id is its fragment's number and its place there. The data files of a fragment never
change; a fragment that has other files has other data, though its row ids may be the same. So two
versions hold the same data under a row id where its fragment has the same files in both.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from itr_deploy.runtime.gallery.files import manifest_path

MAGIC = b"LANC"
ROW_BITS = 32
"""Bits of a row id below its fragment's number."""
_STABLE_ROW_IDS = 2
"""A flag of tables whose row ids are no places; this package makes none."""


@dataclass(frozen=True)
class Fragment:
    """A part of a table.

    Attributes:
        number: Its number, which no other fragment of the table gets.
        rows: Rows that were written to it.
        files: What the manifest says of its data files.
        deleted: What the manifest says of its deleted rows, empty if there are none.
    """

    number: int
    rows: int
    files: bytes
    deleted: bytes

    @property
    def places(self) -> NDArray[np.int64]:
        """Row ids of all rows that were written to it."""
        return (self.number << ROW_BITS) + np.arange(self.rows, dtype=np.int64)

    @property
    def names(self) -> list[str]:
        """Its data files, relative to the table's directory."""
        return list(self.sizes)

    @property
    def sizes(self) -> dict[str, int]:
        """Their bytes, 0 where an older release of LanceDB did not say."""
        found, place = dict[str, int](), 0
        while place < len(self.files):
            size = int.from_bytes(self.files[place : place + 4], "little")
            own = dict(_fields(self.files[place + 4 : place + 4 + size]))
            if isinstance(name := own.get(1), bytes):
                written = own.get(6, 0)
                found[f"data/{name.decode()}"] = written if isinstance(written, int) else 0
            place += 4 + size
        return found


@dataclass(frozen=True)
class Fragments:
    """All fragments of a version, by their numbers and in the order of the table's rows."""

    of: Mapping[int, Fragment]
    _read: Mapping[bytes, Fragment]


def read_fragments(root: Path, version: int, known: Fragments | None = None) -> Fragments | None:
    """The fragments of a version, None if its manifest is not understood.

    Args:
        root: The table's directory.
        version: LanceDB's version number.
        known: Those of another version: what is in both is not read again.
    """
    try:
        path = manifest_path(root, version)
        return None if path is None else fragments_in(path.read_bytes(), known)
    except OSError:
        return None


def fragments_in(manifest: bytes, known: Fragments | None = None) -> Fragments | None:
    """As `read_fragments`, of a manifest's bytes."""
    try:
        return _fragments(manifest, known)
    except (ValueError, IndexError, TypeError):
        return None


def _fragments(content: bytes, known: Fragments | None) -> Fragments:
    if content[-len(MAGIC) :] != MAGIC:
        raise ValueError("not a manifest")
    start = int.from_bytes(content[-16:-8], "little")
    size = int.from_bytes(content[start : start + 4], "little")
    read = {} if known is None else known._read
    now: dict[bytes, Fragment] = {}
    for field, value in _fields(content[start + 4 : start + 4 + size]):
        if field == 2 and isinstance(value, bytes):
            now[value] = read.get(value) or _fragment(value)
        elif field == 9 and isinstance(value, int) and value & _STABLE_ROW_IDS:
            raise ValueError("its row ids are no places")
    return Fragments({found.number: found for found in now.values()}, now)


def _fragment(content: bytes) -> Fragment:
    number = rows = 0
    files, deleted = b"", b""
    for field, value in _fields(content):
        if isinstance(value, bytes):
            if field == 2:
                files += len(value).to_bytes(4, "little") + value
            elif field == 3:
                deleted = value
        elif field == 1:
            number = value
        elif field == 4:
            rows = value
    return Fragment(number, rows, files, deleted)


def _fields(content: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a message of protocol buffers: their numbers and values."""
    place = 0
    while place < len(content):
        tag, place = _varint(content, place)
        field, kind = tag >> 3, tag & 7
        if kind == 0:
            number, place = _varint(content, place)
            yield field, number
            continue
        if kind == 2:
            size, place = _varint(content, place)
        else:
            size = {1: 8, 5: 4}.get(kind, len(content) + 1)
        if place + size > len(content):
            raise ValueError("cut off")
        yield field, content[place : place + size]
        place += size


def _varint(content: bytes, place: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = content[place]
        number |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if byte < 128:
            return number, place
