"""The check of the cache directory."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from itr_deploy.diagnosis.checks import Check, in_words
from itr_deploy.runtime.backends.cache import VARIABLE, cache_directory

NAME = "cache directory"


def check_cache() -> Check:
    """Where it is, its size, and whether it can be written. It is not made."""
    path = cache_directory()
    try:
        # Permissions do not tell of a read-only or full disk: a file does.
        with tempfile.TemporaryFile(dir=_nearest(path)) as file:
            file.write(b"\0")
    except OSError as error:
        found = f"{path} cannot be written: {error.strerror or error}"
        return Check(NAME, "problem", found, f"set {VARIABLE} to a directory that can be")
    return Check(NAME, "ok", f"{path}, {in_words(_size(path))}")


def _nearest(path: Path) -> Path:
    """The path, or the nearest directory above it that is there."""
    return next(place for place in (path, *path.parents) if os.path.lexists(place))


def _size(path: Path) -> int:
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
