"""The table that the Caffe extractors write, with arrays in base64.

A line has tabs between ``image_id, image_w, image_h, num_boxes, boxes, features`` and no header.
The last two are little-endian float32: ``[n, 4]`` (x1, y1, x2, y2 in pixels) and ``[n, Di]``. Lines
of LXMERT's extractor have ten fields, with the height before the width. A file may repeat images.

A line holds about a megabyte, more than the ``csv`` module takes without being told. A table of
hundreds of gigabytes is usual: lines are looked through once without decoding, then read by where
they begin.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from itr_deploy.errors import InputError
from itr_deploy.evaluation.data.sources.source import Entry, Item, checked_id, checked_size

CAFFE = ("image_id", "image_w", "image_h", "num_boxes", "boxes", "features")
LXMERT = (
    *("image_id", "image_h", "image_w", "objects_id", "objects_conf", "attrs_id", "attrs_conf"),
    *("num_boxes", "boxes", "features"),
)
_COLUMNS = {len(names): names for names in (CAFFE, LXMERT)}
LONGEST = 64 << 20
"""Most bytes of a line: a hundred regions of 2,048 features take 1.1 million."""
FLOAT = np.dtype("<f4")


class Tables:
    """Images in one table or several, such as the parts of one that was split."""

    unit = "MiB"

    def __init__(self, files: Sequence[Path]) -> None:
        """Take the files, which are opened as they are read."""
        self._files = files

    def entries(self, tell: Callable[[int, int], object]) -> Iterator[Entry]:
        """Every line of every file; see `Source.entries`.

        Raises:
            InputError: A line has other fields, or arrays of another size; or a file cannot be
                read.
        """
        total, before = sum(map(_size, self._files)), 0
        whole = (total >> 20) + 1
        for file in self._files:
            for line, offset, content in _lines(file):
                tell((before + offset) >> 20, whole)
                if content.strip():
                    yield _entry(file, line, offset, content)
            before += _size(file)
        tell(whole, whole)

    def read(self, entry: Entry) -> Item:
        """The arrays of a line; see `Source.read`.

        Raises:
            InputError: They are no base64, the picture has no size, or the file was changed.
        """
        try:
            with entry.file.open("rb") as file:
                file.seek(entry.offset)
                content = file.readline(LONGEST)
        except OSError as error:
            raise InputError(f"{entry.file}: cannot be read: {error.strerror or error}") from error
        row = _row(content, f"{entry.file}: line {entry.line}")
        boxes, features = (
            _decoded(row[name], name, entry).reshape(entry.regions, -1)
            for name in ("boxes", "features")
        )
        return Item(features, boxes, _size_of_picture(row, entry.where))


def _lines(path: Path) -> Iterator[tuple[int, int, bytes]]:
    """Number, offset and content of every line."""
    number = offset = 0
    try:
        with path.open("rb") as file:
            while content := file.readline(LONGEST):
                number += 1
                if len(content) == LONGEST:
                    raise InputError(
                        f"{path}: line {number} has more than {LONGEST:,} bytes; this is no table "
                        "of regions"
                    )
                yield number, offset, content
                offset += len(content)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error


def _entry(file: Path, line: int, offset: int, content: bytes) -> Entry:
    """What a line holds, by the lengths of its fields.

    Raises:
        InputError: They are not those of a line.
    """
    where = f"{file}: line {line}"
    cut = "" if content.endswith(b"\n") else "; the file ends in this line, so it may be truncated"
    row = _row(content, where, cut)
    try:
        name = checked_id(row["image_id"].decode(), where)
    except UnicodeDecodeError as error:
        raise InputError(f"{where}: its image_id is not UTF-8") from error
    where = f"{where}, image {name!r}"
    count = row["num_boxes"].strip()
    if not count.isdigit() or len(count) > 9:
        raise InputError(f"{where}: num_boxes is {_shown(count)}; expected a whole number{cut}")
    regions = int(count)
    sizes = {name: _decoded_size(row[name], name, where, cut) for name in ("boxes", "features")}
    if sizes["boxes"] != regions * 4 * FLOAT.itemsize:
        raise InputError(
            f"{where}: boxes have {sizes['boxes']} bytes; {regions} boxes of float32 have "
            f"{regions * 4 * FLOAT.itemsize}{cut}"
        )
    width, rest = divmod(sizes["features"], max(regions, 1) * FLOAT.itemsize)
    if rest or bool(width) != bool(regions):
        raise InputError(
            f"{where}: features have {sizes['features']} bytes, which {regions} regions of float32 "
            f"do not divide into{cut}"
        )
    return Entry(name, regions, width, True, True, file, line, offset)


def _row(content: bytes, where: str, cut: str = "") -> dict[str, bytes]:
    fields = content.rstrip(b"\r\n").split(b"\t")
    columns = _COLUMNS.get(len(fields))
    if columns is None:
        raise InputError(
            f"{where} has {len(fields)} fields; expected {len(CAFFE)} with tabs between: "
            f"{', '.join(CAFFE)}, or the {len(LXMERT)} of LXMERT{cut}"
        )
    row = dict(zip(columns, fields, strict=True))
    if row["features"] == b"features":
        raise InputError(
            f"{where} names the columns; take it off, for instance with tail -n +2 old > new"
        )
    return row


def _decoded_size(field: bytes, name: str, where: str, cut: str) -> int:
    """How many bytes a field of base64 stands for.

    Raises:
        InputError: It cannot be base64, by its length.
    """
    if field[:2] in (b"b'", b'b"'):
        raise InputError(
            f"{where}: {name} begin with b', as Python 3 prints bytes; write base64 with .decode() "
            "after b64encode, or take the marks off: sed \"s/b'\\([^']*\\)'/\\1/g\" old > new"
        )
    groups, rest = divmod(len(field), 4)
    if rest:
        raise InputError(
            f"{where}: {name} are no base64: {len(field)} characters, not a multiple of 4{cut}"
        )
    return groups * 3 - field[-2:].count(b"=")


def _decoded(field: bytes, name: str, entry: Entry) -> NDArray[np.float32]:
    try:
        content = base64.b64decode(field, validate=True)
        values: NDArray[np.float32] = np.frombuffer(content, FLOAT)
        wanted = entry.regions * (4 if name == "boxes" else entry.width)
        if len(values) != wanted:
            raise ValueError(f"{len(values)} numbers where there were {wanted}")
    except (binascii.Error, ValueError) as error:
        raise InputError(f"{entry.where}: {name} are no base64 of float32: {error}") from error
    return values


def _size_of_picture(row: dict[str, bytes], where: str) -> tuple[float, float]:
    found = row["image_w"], row["image_h"]
    try:
        width, height = map(float, found)
    except ValueError as error:
        words = " x ".join(map(_shown, found))
        raise InputError(f"{where}: its picture is {words}; expected pixels") from error
    return checked_size(width, height, where)


def _shown(field: bytes) -> str:
    return repr(field[:40].decode("utf-8", "replace"))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
