"""Where items went when their fragments were written anew, so that nobody reads them again.

`compacting` leaves a file in ``_itr_deploy/moved/`` for every version that it makes: the row ids
that the items of its new fragments had before. It is trusted for fragments of the very same data
files, whose names are random; where it is missing or damaged, a retriever reads the whole gallery.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from itr_deploy.bundle.files import write_file
from itr_deploy.runtime.gallery.files import OWN
from itr_deploy.runtime.gallery.fragments import ROW_BITS, Fragment, Fragments

Rows = NDArray[np.int64]

MOVED, ENDING = "moved", ".rows"
DIGEST = hashlib.sha256().digest_size
KEPT = 32
"""Files that are kept, the newest: who holds a version before them reads all."""
GONE = -1
"""The row id of items that were deleted before they could be moved."""


@dataclass(frozen=True, eq=False)
class Move:
    """What one version moved.

    Attributes:
        version: The version that has the items in their new places.
        before: Data files of the fragments that they were in, by the fragments' numbers.
        after: The fragments that they are in.
        rows: ``int64 [N]``, row ids that the items had, in the order of their new places.
    """

    version: int
    before: Mapping[int, bytes]
    after: Sequence[Fragment]
    rows: Rows

    @property
    def places(self) -> Rows:
        """``int64 [N]``, row ids that the items have now."""
        return np.concatenate([np.empty(0, np.int64), *(part.places for part in self.after)])


def write_move(root: Path, move: Move) -> None:
    """Keep what was moved, and forget the oldest.

    Raises:
        OutputError: It cannot be written.
    """
    about = {
        "before": {str(number): files.hex() for number, files in move.before.items()},
        "after": [[part.number, part.rows, part.files.hex()] for part in move.after],
    }
    content = BytesIO()
    text = np.frombuffer(json.dumps(about).encode(), np.uint8)
    np.savez_compressed(content, about=text, rows=move.rows)
    whole = content.getvalue()
    own = hashlib.sha256(whole).digest()
    write_file(root / OWN / MOVED / f"{move.version}{ENDING}", own + whole)
    forget_moves(root, 0.0, most=KEPT)


def forget_moves(root: Path, before: float, most: int = 1) -> None:
    """Remove the files that were written before a time, but for the newest ``most``; 0 for any."""
    for version in _versions(root)[:-most]:
        file = root / OWN / MOVED / f"{version}{ENDING}"
        with suppress(OSError):
            if not before or file.stat().st_mtime <= before:
                file.unlink()


def read_moves(root: Path, after: int, until: int) -> list[Move]:
    """What was moved after one version and until another, oldest first, as far as it is known."""
    found = [_read(root, version) for version in _versions(root) if after < version <= until]
    return [move for move in found if move is not None]


def moved(rows: Rows, before: Fragments, moves: Sequence[Move]) -> tuple[Rows, Fragments]:
    """Row ids of held items and their fragments, as they are after some moves.

    Args:
        rows: Row ids as they were.
        before: The fragments that they were in.
        moves: What was moved since, oldest first.
    """
    of = dict(before.of)
    for move in moves:
        known = [n for n, files in move.before.items() if n in of and of[n].files == files]
        if not known:
            continue
        order = np.argsort(move.rows)
        places, sorted_rows = move.places[order], move.rows[order]
        concerned = np.isin(rows >> ROW_BITS, np.array(known, np.int64))
        own = rows[concerned]
        at = np.minimum(np.searchsorted(sorted_rows, own), max(0, len(order) - 1))
        there = sorted_rows[at] == own if len(order) else np.zeros(len(own), np.bool_)
        rows = rows.copy()
        rows[concerned] = np.where(there, places[at] if len(order) else GONE, GONE)
        for number in known:
            del of[number]
        of |= {part.number: part for part in move.after}
    return rows, replace(before, of=of)


def _versions(root: Path) -> list[int]:
    try:
        names = [file.stem for file in (root / OWN / MOVED).iterdir() if file.suffix == ENDING]
    except OSError:
        return []
    return sorted(int(name) for name in names if name.isdigit())


def _read(root: Path, version: int) -> Move | None:
    try:
        content = (root / OWN / MOVED / f"{version}{ENDING}").read_bytes()
        own, whole = content[:DIGEST], content[DIGEST:]
        if own != hashlib.sha256(whole).digest():
            return None
        with np.load(BytesIO(whole), allow_pickle=False) as arrays:
            about, rows = json.loads(arrays["about"].tobytes()), arrays["rows"]
        before = {int(number): bytes.fromhex(files) for number, files in about["before"].items()}
        after = [
            Fragment(int(number), int(count), bytes.fromhex(files), b"")
            for number, count, files in about["after"]
        ]
        found = Move(version, before, after, rows.astype(np.int64))
        return found if len(found.places) == len(found.rows) else None
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None
