"""Which cells of a map each bin of RoIPool covers, as tables by the number of cells of a box.

The published operator multiplies in float32, which for 57 and 62 cells gives one bin another end
than exact fractions do. A bin depends on nothing but the box's cells and its own place.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from itr_deploy.models.detector.config import POOLED, STRIDE


@dataclass(frozen=True, eq=False)
class Bins:
    """The cells of all bins, counted from a box's first cell.

    Attributes:
        first: ``int64 [N + 1, 14]``, the first cell of each bin of a box of n cells.
        behind: The same, the cell behind the last.
    """

    first: NDArray[np.int64]
    behind: NDArray[np.int64]

    @property
    def longest(self) -> int:
        """Most cells of a bin."""
        return int((self.behind - self.first).max())


def bins_up_to(cells: int) -> Bins:
    """The bins of boxes of up to ``cells`` cells along an axis; none has fewer than one."""
    counts = np.maximum(np.arange(cells + 1), 1).astype(np.float32)[:, None]
    size = counts / np.float32(POOLED)
    places = np.arange(POOLED + 1, dtype=np.float32)
    first, behind = np.floor(places[:-1] * size), np.ceil(places[1:] * size)
    return Bins(first.astype(np.int64), behind.astype(np.int64))


def most_cells(longest_side: int) -> int:
    """Most cells of a box along an axis: its corners are rounded to cells and both count."""
    return int(np.floor(longest_side / STRIDE + 0.5)) + 1
