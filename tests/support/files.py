"""Inspecting directories, and making disks appear full."""

from __future__ import annotations

import hashlib
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def tree(root: Path) -> dict[str, str]:
    """Every file below a directory with its checksum."""
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """No file of this process grows past ``size`` bytes: writing more fails as on a full disk.

    The kernel refuses with EFBIG; Python ignores the signal that comes with it.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
