"""Archives in pieces small enough to be sent, and a manifest with their checksums."""

from __future__ import annotations

import hashlib
import io
import json
import lzma
import os
import tarfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any, cast

MANIFEST = "manifest.json"
FORMAT = 1


class PackError(Exception):
    """What was packed is not whole, or cannot be packed; one line for people."""


@dataclass(frozen=True)
class Piece:
    """A file to be sent."""

    file: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Part:
    """An archive that some steps need: a compressed tar, cut into pieces."""

    says: str
    pieces: tuple[Piece, ...]

    @property
    def bytes(self) -> int:
        """Its size as sent."""
        return sum(piece.bytes for piece in self.pieces)


@dataclass(frozen=True)
class Manifest:
    """What was packed.

    Attributes:
        made: When, and of what: version, commit, Python, platform.
        sizes: How much the steps do.
        parts: The archives by name.
        left_out: Name and size of what was not packed, and why.
    """

    made: dict[str, str]
    sizes: dict[str, Any]
    parts: dict[str, Part] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Write it beside the pieces."""
        write_json(folder / MANIFEST, {"format": FORMAT, **asdict(self)})

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """The manifest of a folder.

        Raises:
            PackError: There is none, or of another format.
        """
        try:
            content = json.loads((folder / MANIFEST).read_bytes())
        except (OSError, ValueError) as error:
            raise PackError(f"{folder / MANIFEST} cannot be read: {error}") from error
        if content.pop("format", None) != FORMAT:
            raise PackError(f"{folder / MANIFEST} is of another release; pack again")
        content["parts"] = {
            name: Part(part["says"], tuple(Piece(**piece) for piece in part["pieces"]))
            for name, part in content["parts"].items()
        }
        return cls(**content)


def write_part(folder: Path, name: str, says: str, content: Path, piece_bytes: int) -> Part:
    """Pack a directory's content into pieces ``NAME.0``, ``NAME.1``, .. of a folder."""
    cut = _Cut(folder, name, piece_bytes)
    with (
        lzma.LZMAFile(cast(IO[bytes], cut), "wb", preset=6) as packed,
        tarfile.open(fileobj=packed, mode="w|") as archive,
    ):
        for path in sorted(content.iterdir()):
            archive.add(path, path.name)
    cut.close()
    return Part(says, tuple(cut.pieces))


def absent(folder: Path, part: Part) -> str | None:
    """Which pieces of a part are missing or damaged; None if it is whole."""
    wrong = [piece for piece in part.pieces if not _is_whole(folder / piece.file, piece)]
    if not wrong:
        return None
    names = ", ".join(piece.file for piece in wrong)
    return (
        f"{len(wrong)} of {len(part.pieces)} pieces are missing or damaged: {names} "
        f"({mib(sum(piece.bytes for piece in wrong))})"
    )


def unpack(folder: Path, part: Part, place: Path) -> None:
    """Unpack a whole part.

    Raises:
        PackError: It cannot be unpacked.
    """
    joined = _Joined([folder / piece.file for piece in part.pieces])
    try:
        with (
            lzma.LZMAFile(cast(IO[bytes], joined)) as content,
            tarfile.open(fileobj=content, mode="r|") as archive,
        ):
            archive.extractall(place, filter="data")
    except (OSError, lzma.LZMAError, tarfile.TarError) as error:
        raise PackError(f"{part.pieces[0].file} cannot be unpacked: {error}") from error


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a file that is there either whole or as it was before."""
    write_text(path, json.dumps(content, indent=1) + "\n")


def write_text(path: Path, content: str) -> None:
    """Write a file that is there either whole or as it was before."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    temporary.write_text(content, encoding="utf-8")
    temporary.replace(path)


def mib(size: int) -> str:
    """A number of bytes for people."""
    return f"{size / (1 << 20):.1f} MiB"


def _is_whole(path: Path, piece: Piece) -> bool:
    if not path.is_file() or path.stat().st_size != piece.bytes:
        return False
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest() == piece.sha256


class _Cut(io.RawIOBase):
    """A file to write to that is cut into pieces."""

    def __init__(self, folder: Path, name: str, piece_bytes: int) -> None:
        self._folder, self._name, self._most = folder, name, piece_bytes
        self._piece = bytearray()
        self.pieces: list[Piece] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._piece += data
        while len(self._piece) >= self._most:
            self._end_piece()
        return len(data)

    def close(self) -> None:
        if self._piece:
            self._end_piece()
        super().close()

    def _end_piece(self) -> None:
        content, self._piece = bytes(self._piece[: self._most]), self._piece[self._most :]
        path = self._folder / f"{self._name}.{len(self.pieces)}"
        path.write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        self.pieces.append(Piece(path.name, len(content), digest))


class _Joined(io.RawIOBase):
    """Files read as one."""

    def __init__(self, paths: list[Path]) -> None:
        self._left = list(paths)
        self._file: io.BufferedReader | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while True:
            if self._file is None:
                if not self._left:
                    return 0
                self._file = self._left.pop(0).open("rb")
            if count := self._file.readinto(buffer):
                return count
            self._file.close()
            self._file = None
