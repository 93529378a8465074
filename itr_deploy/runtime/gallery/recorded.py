"""The record of a gallery's checksums: a file that is written whole, and lines added to it.

A change adds a line for each of its files, which costs the same however many files there are. From
`FOLDED` lines on the file is written anew, with the files that are still there.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Literal

from itr_deploy.bundle.files import canonical_json, write_file
from itr_deploy.bundle.record import Record
from itr_deploy.runtime.gallery.boundary import damaged
from itr_deploy.runtime.gallery.files import OWN

CHECKSUMS, ADDED = "checksums.json", "checksums.log"
FOLDED = 512
_REMEMBERED = 8
"""Galleries whose record is kept, so that a writer's next change does not read it again."""

State = tuple[tuple[int, int, int] | None, ...]


class StoredFile(Record):
    """Size in bytes and hexadecimal SHA-256 of a file."""

    bytes: int
    sha256: str


class Checksums(Record):
    """All recorded files by their names relative to the table's directory."""

    schema_version: Literal[1] = 1
    files: dict[str, StoredFile]


Recorded = Mapping[str, StoredFile]
_known: dict[Path, tuple[State, Recorded]] = {}


def read_recorded(path: str, root: Path) -> Recorded | None:
    """What is recorded, by names relative to the table's directory; None if nothing is.

    Raises:
        GalleryError: The record is damaged.
    """
    state = _state(root)
    remembered = _known.get(root)
    if remembered is not None and remembered[0] == state:
        return remembered[1]
    try:
        # The lines first: while they are folded into the file, it has all of them.
        added = _read_added(root / OWN / ADDED)
        content = json.loads((root / OWN / CHECKSUMS).read_bytes())
        own = content.pop("sha256")
        if own != hashlib.sha256(canonical_json(content)).hexdigest():
            raise ValueError("its own checksum differs")
        found = {**Checksums.model_validate(content).files, **added}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise damaged(path, f"{OWN}/{CHECKSUMS} cannot be read") from error
    _remember(root, state, found)
    return found


def add_recorded(root: Path, known: Recorded, new: Recorded) -> bool:
    """Add lines for new files; False if the file is to be written anew instead.

    Raises:
        OSError: The lines cannot be written.
    """
    if not new:
        return True
    log = root / OWN / ADDED
    text = b"".join(_line(name, entry) for name, entry in new.items())
    with log.open("ab+") as file:
        size = file.seek(0, os.SEEK_END)
        if size:
            file.seek(size - 1)
            if file.read() != b"\n":
                # A writer was stopped in the middle of a line.
                return False
        file.write(text)
    if log.stat().st_size > FOLDED * len(_line("x" * 60, StoredFile(bytes=0, sha256="0" * 64))):
        return False
    _remember(root, _state(root), {**known, **new})
    return True


def write_recorded(root: Path, files: Recorded) -> None:
    """Write the file anew, with these files alone.

    Raises:
        OutputError: It cannot be written.
    """
    content = Checksums(files=dict(files)).model_dump(mode="json")
    own = hashlib.sha256(canonical_json(content)).hexdigest()
    write_file(root / OWN / CHECKSUMS, json.dumps({**content, "sha256": own}))
    with suppress(OSError):
        (root / OWN / ADDED).unlink(missing_ok=True)
    _remember(root, _state(root), files)


def _read_added(log: Path) -> dict[str, StoredFile]:
    try:
        lines = log.read_bytes().split(b"\n")
    except FileNotFoundError:
        return {}
    found = {}
    # What is after the last line's end was cut off with its writer.
    for line in lines[:-1]:
        content, _, own = line.rpartition(b" ")
        if own.decode() != hashlib.sha256(content).hexdigest()[:16]:
            raise ValueError("a line's own checksum differs")
        name, size, digest = json.loads(content)
        found[name] = StoredFile(bytes=size, sha256=digest)
    return found


def _line(name: str, entry: StoredFile) -> bytes:
    content = json.dumps([name, entry.bytes, entry.sha256]).encode()
    return content + b" " + hashlib.sha256(content).hexdigest()[:16].encode() + b"\n"


def _state(root: Path) -> State:
    """Changes with whatever is written to the record."""
    found: list[tuple[int, int, int] | None] = []
    for name in (CHECKSUMS, ADDED):
        try:
            status = (root / OWN / name).stat()
        except OSError:
            found.append(None)
            continue
        if not stat.S_ISREG(status.st_mode):
            raise damaged(str(root.parent), f"{OWN}/{name} is not a regular file")
        found.append((status.st_ino, status.st_size, status.st_mtime_ns))
    return tuple(found)


def _remember(root: Path, state: State, recorded: Recorded) -> None:
    if len(_known) >= _REMEMBERED and root not in _known:
        with suppress(KeyError, StopIteration):
            del _known[next(iter(_known))]
    _known[root] = state, recorded
