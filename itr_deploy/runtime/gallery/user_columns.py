"""The user's columns of loaded items, to which rows are added without copying those before."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


class UserColumns:
    """Tables one after the other, each at least twice as long as the next: there are few."""

    def __init__(self, parts: tuple[pa.Table, ...] = ()) -> None:
        """Take the tables; `extended` adds to them."""
        self._parts = parts
        self._starts = np.cumsum([0, *(len(part) for part in parts)])

    def extended(self, more: pa.Table) -> UserColumns:
        """With further rows at the end; these columns stay as they are."""
        if not more.num_columns:
            # Arrow forgets the number of rows of a table without columns.
            return self
        parts = list(self._parts)
        while parts and len(parts[-1]) < 2 * len(more):
            more = pa.concat_tables([parts.pop(), more])
        return UserColumns((*parts, more.combine_chunks()))

    def describe(self, places: NDArray[np.int64]) -> tuple[dict[str, Any], ...]:
        """The values of some items, one dictionary per item."""
        found: list[dict[str, Any]] = [{} for _ in places]
        if not self._parts:
            return tuple(found)
        part_of = np.searchsorted(self._starts, places, side="right") - 1
        for number in np.unique(part_of):
            part, own = self._parts[number], np.flatnonzero(part_of == number)
            chosen = part.take(pa.array(places[own] - self._starts[number]))
            for place, entry in zip(own, chosen.to_pylist(), strict=True):
                found[place] = entry
        return tuple(found)
