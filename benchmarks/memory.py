"""What a process holds in memory now."""

from __future__ import annotations

import os
from pathlib import Path


def resident_memory() -> int:
    """Bytes of this process that are in memory (Linux)."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
