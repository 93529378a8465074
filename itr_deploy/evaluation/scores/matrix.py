"""A matrix of scores on disk that is filled tile by tile and survives a kill.

A directory holds ``scores.npy``, a plain NumPy file; ``plan.json``, what the scores are of and how
they are cut into tiles; and ``tiles.txt``, the journal: one line per finished tile, with the
checksum of its scores. Tiles that do not match the journal are computed again.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itr_deploy.bundle.files import output_errors, write_file, write_json
from itr_deploy.errors import InputError
from itr_deploy.evaluation.scores.grid import Grid, length

SCORES, PLAN, JOURNAL = "scores.npy", "plan.json", "tiles.txt"
FILES = frozenset({SCORES, PLAN, JOURNAL})
VERSION = 1

_LINE = re.compile(r"(\d+) ([0-9a-f]{8})")


class ScoreMatrix:
    """``float32 [planes, rows, columns]`` on disk, made by `create` or `resume`.

    The file of a single plane is ``[rows, columns]``.
    """

    def __init__(self, root: Path, grid: Grid, planes: int, finished: dict[int, int]) -> None:
        """Open the files in ``root``; ``finished`` holds the checksum of each finished tile."""
        self.root, self.grid, self.planes = root, grid, planes
        self._finished = finished
        # The header is written once; its length says where the scores begin.
        with (root / SCORES).open("rb") as file:
            np.lib.format.read_magic(file)
            np.lib.format.read_array_header_1_0(file)
            self._start = file.tell()

    @classmethod
    def create(
        cls, root: Path, identity: Mapping[str, Any], grid: Grid, planes: int = 1
    ) -> ScoreMatrix:
        """Create an empty matrix and reserve its disk space.

        Args:
            root: Its directory, made if missing.
            identity: What the scores are of, JSON values; `resume` needs the same.
            grid: Its size and tiles.
            planes: Number of scores per pair.

        Raises:
            OutputError: The disk cannot be written.
        """
        plan = {"version": VERSION, "identity": dict(identity), "grid": asdict(grid)}
        shape = (grid.rows, grid.columns) if planes == 1 else (planes, grid.rows, grid.columns)
        with output_errors(root):
            root.mkdir(parents=True, exist_ok=True)
            (root / PLAN).unlink(missing_ok=True)
            with (root / SCORES).open("wb") as file:
                header = {"descr": "<f4", "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(file, header)
                file.flush()
                _reserve(file.fileno(), file.tell() + 4 * planes * grid.rows * grid.columns)
        write_file(root / JOURNAL, "")
        write_json(root / PLAN, {**plan, "planes": planes})
        return cls(root, grid, planes, {})

    @classmethod
    def resume(cls, root: Path, identity: Mapping[str, Any]) -> ScoreMatrix | None:
        """The matrix in ``root``, None if there is none.

        Raises:
            InputError: It holds scores of something else, or its plan or journal is unreadable.
        """
        plan = _read_plan(root)
        if plan is None:
            return None
        found = plan["identity"]
        other = [name for name, value in identity.items() if found.get(name) != value]
        if other or len(found) != len(identity):
            raise InputError(
                f"{root} holds scores of another {' and '.join(other) or 'evaluation'}; "
                "give force=True (--force) to replace them, or another output (--output)"
            )
        grid = Grid(**plan["grid"])
        matrix = cls(root, grid, plan["planes"], {})
        matrix._recover()
        return matrix

    @classmethod
    def kept(cls, root: Path) -> ScoreMatrix:
        """The finished matrix in ``root``, whatever its scores are of; nothing is written.

        Raises:
            InputError: There is none, or it is not finished, damaged or unreadable.
        """
        plan = _read_plan(root)
        if plan is None:
            raise InputError(
                f"{root}: no saved scores; evaluate with save_scores=True (--save-scores)"
            )
        matrix = cls(root, Grid(**plan["grid"]), plan["planes"], {})
        matrix._finished = matrix._intact()
        if not matrix.complete:
            raise InputError(
                f"{root}: {matrix.tiles_done} of {len(matrix.grid)} tiles of scores are finished; "
                "finish that evaluation first"
            )
        return matrix

    @property
    def of(self) -> dict[str, Any]:
        """What its scores are of, as `create` was told."""
        plan = _read_plan(self.root)
        assert plan is not None, f"{self.root} was removed"
        found: dict[str, Any] = plan["identity"]
        return found

    @property
    def identity(self) -> str:
        """A SHA-256 of what its scores are of, and of their checksums."""
        found = hashlib.sha256((self.root / PLAN).read_bytes())
        found.update(repr(sorted(self._finished.items())).encode())
        return found.hexdigest()

    @property
    def done(self) -> int:
        """Number of finished scores in one plane."""
        return sum(self.grid.size(number) for number in self._finished)

    @property
    def tiles_done(self) -> int:
        """Number of finished tiles."""
        return len(self._finished)

    @property
    def complete(self) -> bool:
        """Whether every tile is finished."""
        return len(self._finished) == len(self.grid)

    def missing(self) -> Iterator[int]:
        """Numbers of the tiles that are not finished, in order."""
        return (number for number in range(len(self.grid)) if number not in self._finished)

    def write(self, number: int, scores: NDArray[np.float32]) -> None:
        """Write a tile ``float32 [planes, n, m]``, then its line in the journal.

        Raises:
            OutputError: The disk cannot be written; the tile does not count as finished.
        """
        rows, columns = self.grid.tile(number)
        expected = (self.planes, length(rows), length(columns))
        assert scores.shape == expected, f"tile of shape {scores.shape}, expected {expected}"
        data = np.ascontiguousarray(scores, "<f4")
        left = f"{self.tiles_done} finished tiles are kept and the same command resumes from them"
        with output_errors(self.root, left):
            with (self.root / SCORES).open("r+b") as file:
                for plane, part in enumerate(data):
                    for row, values in zip(range(rows.start, rows.stop), part, strict=True):
                        file.seek(self._offset(plane, row, columns.start))
                        file.write(values)
            checksum = zlib.crc32(data.tobytes())
            with (self.root / JOURNAL).open("a", encoding="ascii") as journal:
                journal.write(_line(number, checksum))
        self._finished[number] = checksum

    def plane(self, number: int = 0) -> StoredPlane:
        """One plane ``float32 [rows, columns]``, read from disk part by part."""
        return StoredPlane(self, number, slice(0, self.grid.rows), slice(0, self.grid.columns))

    def mapped(self, number: int = 0) -> NDArray[np.float32]:
        """One plane ``float32 [rows, columns]``, mapped from disk; `release_pages` frees it."""
        planes = np.load(self.root / SCORES, mmap_mode="r")
        plane: NDArray[np.float32] = planes if self.planes == 1 else planes[number]
        return plane

    def read(self, plane: int, rows: slice, columns: slice) -> NDArray[np.float32]:
        """A part of a plane, in memory."""
        width = length(columns)
        part = np.empty((length(rows), width), "<f4")
        with (self.root / SCORES).open("rb") as file:
            if width == self.grid.columns:
                file.seek(self._offset(plane, rows.start, 0))
                file.readinto(part.reshape(-1).data.cast("B"))
            else:
                for values, row in zip(part, range(rows.start, rows.stop), strict=True):
                    file.seek(self._offset(plane, row, columns.start))
                    file.readinto(values.data.cast("B"))
        return part.astype(np.float32, copy=False)

    def remove(self) -> None:
        """Remove its files, and the directory if nothing else is in it."""
        for name in (PLAN, JOURNAL, SCORES):
            (self.root / name).unlink(missing_ok=True)
        if not any(self.root.iterdir()):
            self.root.rmdir()

    def _offset(self, plane: int, row: int, column: int) -> int:
        return self._start + 4 * ((plane * self.grid.rows + row) * self.grid.columns + column)

    def _recover(self) -> None:
        """Keep the tiles whose scores match the journal's checksum; drop the other lines."""
        self._finished = self._intact()
        kept = (_line(number, checksum) for number, checksum in self._finished.items())
        write_file(self.root / JOURNAL, "".join(kept))

    def _intact(self) -> dict[int, int]:
        """The tiles whose scores match the journal's checksum, with the checksum."""
        found = {}
        try:
            lines = (self.root / JOURNAL).read_text(encoding="ascii", errors="replace").splitlines()
        except OSError as error:
            raise InputError(f"{self.root / JOURNAL}: cannot be read: {error}") from error
        for match in map(_LINE.fullmatch, lines):
            if match is not None and int(match[1]) < len(self.grid):
                number, checksum = int(match[1]), int(match[2], 16)
                if self._checksum(number) == checksum:
                    found[number] = checksum
        return found

    def _checksum(self, number: int) -> int:
        tiles = [self.read(plane, *self.grid.tile(number)) for plane in range(self.planes)]
        return zlib.crc32(np.stack(tiles).astype("<f4", copy=False).tobytes())


@dataclass(frozen=True)
class StoredPlane:
    """Some rows and columns of a plane of a `ScoreMatrix`, read like an array.

    ``plane[rows, columns]`` takes two slices.
    """

    matrix: ScoreMatrix
    number: int
    rows: slice
    columns: slice

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and of columns."""
        return length(self.rows), length(self.columns)

    def part(self, rows: slice, columns: slice) -> StoredPlane:
        """Some of its rows and columns, not read yet."""
        return replace(self, rows=_within(self.rows, rows), columns=_within(self.columns, columns))

    def __getitem__(self, part: tuple[slice, slice]) -> NDArray[np.float32]:
        rows, columns = part
        return self.matrix.read(
            self.number, _within(self.rows, rows), _within(self.columns, columns)
        )


def _read_plan(root: Path) -> dict[str, Any] | None:
    """What the scores in ``root`` are of, None if there are none.

    Raises:
        InputError: It cannot be read, or is of another version.
    """
    try:
        plan: dict[str, Any] = json.loads((root / PLAN).read_text(encoding="utf-8"))
        version, _ = plan["version"], plan["identity"]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{root / PLAN}: cannot be read: {error}; remove {root}") from error
    if version != VERSION:
        raise InputError(f"{root}: scores of another version of itr-deploy; remove it")
    return plan


def _within(whole: slice, part: slice) -> slice:
    """The slice ``part`` of the slice ``whole``, counted from the start of the axis."""
    start, stop, _ = part.indices(length(whole))
    return slice(whole.start + start, whole.start + max(start, stop))


def _line(number: int, checksum: int) -> str:
    return f"{number} {checksum:08x}\n"


def _reserve(handle: int, size: int) -> None:
    """Grow a file to its full size; reserve its disk space if the system can."""
    try:
        os.posix_fallocate(handle, 0, size)
    except AttributeError:
        os.truncate(handle, size)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
            raise
        os.truncate(handle, size)
