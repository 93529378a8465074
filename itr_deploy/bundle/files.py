"""The package's output files: written whole or not at all, named relative to their root."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from itr_deploy.bundle.leftovers import clear_leftovers, staged
from itr_deploy.bundle.links import FOLLOW_LINKS, may_lead_to
from itr_deploy.errors import BundleError, OutputError

CHUNK = 1 << 20


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def canonical_json(value: Any) -> bytes:
    """JSON with sorted keys and no spaces: equal values give equal bytes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def inside(root: Path, name: str) -> Path:
    """The path of ``name`` below ``root``.

    Raises:
        BundleError: ``name`` is absolute, contains ``..``, or leads outside through a link.
    """
    parts = PurePosixPath(name.replace("\\", "/"))
    if parts.is_absolute() or ".." in parts.parts or not parts.parts or ":" in parts.parts[0]:
        raise BundleError(f"{root}: the manifest names {name!r}, a path that leaves the bundle")
    path = root / parts
    if not may_lead_to(root, path.resolve()):
        raise BundleError(
            f"{root}: {name!r} is a link that leads out of the bundle; copy the bundle with "
            f"cp -rL, or set {FOLLOW_LINKS}=1 (--follow-links), or to the links' directory"
        )
    return path


@contextmanager
def output_errors(target: Path, left: str = "nothing was left behind") -> Iterator[None]:
    """Turn a failed write (full disk, read-only, no permission) into one clear `OutputError`.

    Args:
        target: What is written.
        left: What the failed run leaves, for the message.
    """
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"cannot write {target}: {error.strerror or error}; "
            f"free space or choose another place, {left}"
        ) from error


def write_file(path: Path, content: bytes | str) -> None:
    """Write a file under a temporary name beside it, then rename it.

    Raises:
        OutputError: The file cannot be written; an earlier one is left unchanged.
    """
    data = content.encode() if isinstance(content, str) else content
    with output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        clear_leftovers(path, path.parent)
        with staged(path, path.parent, directory=False) as temporary:
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.chmod(0o644)
            temporary.replace(path)


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON with `write_file`."""
    write_file(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")
