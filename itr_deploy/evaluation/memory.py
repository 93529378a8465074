"""How much memory an evaluation takes, and files that are mapped without taking any."""

from __future__ import annotations

import mmap
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray


def peak_memory() -> int | None:
    """Most bytes this process has held in memory so far, None where the system does not say."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def release_pages(array: NDArray[Any]) -> None:
    """Give back the pages of a read-only array that is mapped from disk; others are left alone.

    They count as memory of the process once they were read. What is read again comes from disk.
    """
    base: Any = array
    while isinstance(base, np.ndarray):
        base = base.base
    if isinstance(base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        base.madvise(mmap.MADV_DONTNEED)
