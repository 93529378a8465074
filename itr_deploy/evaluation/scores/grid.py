"""How a matrix of scores is cut into tiles."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Grid:
    """How ``rows x columns`` scores are cut into tiles, one band of columns after the other."""

    rows: int
    columns: int
    tile_rows: int
    tile_columns: int

    def __len__(self) -> int:
        across = -(-self.columns // self.tile_columns)
        return self._tiles_down * across

    @property
    def _tiles_down(self) -> int:
        return -(-self.rows // self.tile_rows)

    def tile(self, number: int) -> tuple[slice, slice]:
        """Rows and columns of a tile."""
        across, down = divmod(number, self._tiles_down)
        row, column = down * self.tile_rows, across * self.tile_columns
        return (
            slice(row, min(row + self.tile_rows, self.rows)),
            slice(column, min(column + self.tile_columns, self.columns)),
        )

    def size(self, number: int) -> int:
        """Number of scores in a tile."""
        rows, columns = self.tile(number)
        return length(rows) * length(columns)


def length(part: slice) -> int:
    """Number of items in a slice with a start and a stop."""
    return int(part.stop - part.start)
