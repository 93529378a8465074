"""Garbage collection that waits for the end of an export."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collected_later() -> Iterator[None]:
    """Do without garbage collection, which would take a tenth of an export's time.

    It looks at millions of objects again and again: PyTorch's modules and the graphs of a trace.
    Hardly any of them are garbage; an export needs 2 % more memory without it.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
