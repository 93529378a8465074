"""Lines of a text file, as editors and programs write it."""

from __future__ import annotations

import codecs
import re
from pathlib import Path

from itr_deploy.errors import InputError

_WIDE = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
_NUMBERED = re.compile(r"\S[^\t]*#\d+\t")
"""A line of Flickr30K's own file of captions: image, number, caption."""


def read_lines(path: Path) -> list[str]:
    """The lines of a UTF-8 file without their ends.

    A byte order mark at the beginning and blank lines at the end are not part of the text. Only
    line feeds, with or without a carriage return, end a line: captions may contain other
    separators.

    Raises:
        FileNotFoundError: There is no such file.
        InputError: The file cannot be read or is not UTF-8, its lines end otherwise, or one before
            the last is blank; names the line.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    text = _decoded(path, content)
    if "\r" in text and "\n" not in text:
        raise InputError(
            f"{path}: its lines end in carriage returns alone; convert it with "
            "tr '\\r' '\\n' < old > new"
        )
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    while lines and not lines[-1].strip():
        lines.pop()
    for number, line in enumerate(lines, 1):
        if not line.strip():
            raise InputError(
                f"{path}: line {number} is blank; every line stands for an item, so fill or remove "
                "it with what belongs to it"
            )
    return lines


def refuse_other_encodings(path: Path) -> None:
    """Refuse a text file that is not UTF-8.

    Raises:
        InputError: It is not, or cannot be read.
    """
    try:
        _decoded(path, path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error


def refuse_numbered(path: Path, captions: list[str]) -> None:
    """Refuse captions with an image's name before each, which would be taken for words.

    Raises:
        InputError: Every line has one.
    """
    if captions and all(map(_NUMBERED.match, captions)):
        raise InputError(
            f"{path}: every line begins with an image and a number, as {captions[0][:40]!r}; keep "
            "the captions alone: cut -f 2 old > new"
        )


def _decoded(path: Path, content: bytes) -> str:
    for mark, name in _WIDE.items():
        if content.startswith(mark):
            raise InputError(
                f"{path}: is {name}; convert it with iconv -f {name} -t UTF-8 old > new"
            )
    if b"\0" in content:
        line = content.count(b"\n", 0, content.index(b"\0")) + 1
        raise InputError(
            f"{path}: line {line} has a NUL character; if the file is UTF-16 without a byte order "
            "mark, convert it with iconv -f UTF-16LE -t UTF-8 old > new"
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # Bytes before the mark was taken off.
        place = error.start + (len(codecs.BOM_UTF8) if content.startswith(codecs.BOM_UTF8) else 0)
        line = content.count(b"\n", 0, place) + 1
        raise InputError(
            f"{path}: line {line} is not UTF-8 (byte 0x{content[place]:02x}); if it is Latin-1, "
            "convert it with iconv -f LATIN1 -t UTF-8 old > new"
        ) from error
