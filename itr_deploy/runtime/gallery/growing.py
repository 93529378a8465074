"""Arrays that grow at their end while views of what they held before are read."""

from __future__ import annotations

import math
import mmap
import sys
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

LEAST = 64
"""Rows that a growing array has space for at least."""
_HUGE = 64 << 20
"""Bytes from which memory is asked for in large pages, as NumPy does."""
_NO_RESERVE = 0x4000
"""``MAP_NORESERVE`` of Linux, which Python knows from 3.13 on."""


class Growing:
    """Rows of one shape; pages that no row was written to take no memory.

    A view of the first rows stays as it is, whatever is written behind it.
    """

    def __init__(self, row: tuple[int, ...], kind: DTypeLike, capacity: int) -> None:
        """Reserve the address space of ``capacity`` rows, zeros until they are written."""
        kind, values = np.dtype(kind), capacity * math.prod(row)
        self.capacity = capacity
        flat = np.frombuffer(_reserved(values * kind.itemsize), kind, values)
        self._rows: NDArray[Any] = flat.reshape(capacity, *row)

    def first(self, count: int) -> NDArray[Any]:
        """The first rows."""
        return self._rows[:count]

    def part(self, start: int, stop: int) -> NDArray[Any]:
        """Rows to be written."""
        return self._rows[start:stop]


def capacity(count: int, *, spare: bool) -> int:
    """Rows to reserve for ``count`` now: as many again where this costs nothing."""
    if not spare:
        return max(1, count)
    return max(LEAST, 2 * count if sys.platform == "linux" else count + count // 8)


def _reserved(size: int) -> Any:
    """Zeros, of which a page is taken when it is first written."""
    if sys.platform != "linux" or size < mmap.PAGESIZE:
        return np.zeros(max(1, size), np.uint8)
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NO_RESERVE
    try:
        memory = mmap.mmap(-1, size, flags=flags)
        if size >= _HUGE:
            memory.madvise(mmap.MADV_HUGEPAGE)
    except OSError:
        # A limit on the address space, or a kernel without large pages.
        return np.zeros(size, np.uint8)
    return memory
