"""Measures the peak memory of an evaluation, and releases the memory of mapped files."""

from __future__ import annotations

import mmap
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

STATUS = Path("/proc/self/status")


def peak_memory() -> int | None:
    """Peak memory of this process so far in bytes, None if the system does not report it."""
    # psutil reports a peak only on Windows. On Linux getrusage also counts the memory that the
    # parent held when it started this process.
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    if STATUS.exists():
        lines = STATUS.read_text(encoding="ascii", errors="replace").splitlines()
        peaks = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
        return 1024 * int(peaks[0]) if peaks else None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def release_pages(array: NDArray[Any]) -> None:
    """Release the pages of a read-only array mapped from disk; other arrays are left alone.

    Pages count as memory of the process once they were read. Reading them again goes to disk.
    """
    base: Any = array
    while isinstance(base, np.ndarray):
        base = base.base
    if isinstance(base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        base.madvise(mmap.MADV_DONTNEED)
