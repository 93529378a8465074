"""Vectors as a trained model's: near a curved sheet of few dimensions."""

from __future__ import annotations

import numpy as np

from benchmarks.coarse import Sheet


def sheet(items: int, queries: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors ``[items, width]`` and ``[queries, width]``."""
    made = Sheet(width)
    return made.vectors(items, 0.1), made.vectors(queries, 0.1)
