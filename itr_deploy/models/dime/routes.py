"""DIME's routing graph: which gates may open, and what remains to be computed.

A pruned model is the published one with some gates held at 0. The skip connections stay, so that
every input has a defined score.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

CELLS = ("ric", "glgc", "imrc", "cmrc")
"""Rectified identity, global-local guidance, intra-modal reasoning, cross-modal refinement: the
order of cells in gates and sums."""

RIC, GLGC, IMRC, CMRC = range(len(CELLS))

PATHS = (len(CELLS), len(CELLS), 1)
"""Out-paths of a cell, by layer: to every cell of the next layer; in the last, to the score."""

SUM_EPS = 1e-8
"""Added to a sum of gates before dividing by it."""

OFF_THRESHOLD = 1e-4
"""An out-path whose gates sum to less uses the skip connection."""

Open = tuple[tuple[tuple[bool, ...], ...], ...]


@dataclass(frozen=True)
class Routes:
    """The gates that may open.

    Attributes:
        open: Per layer, out-path and cell. A path to a cell that is not computed has none.
    """

    open: Open

    @classmethod
    def everything(cls) -> Routes:
        """The published model."""
        return cls(tuple(((True,) * len(CELLS),) * paths for paths in PATHS))

    @classmethod
    def keeping(cls, wanted: Sequence[Sequence[Sequence[bool]]]) -> Routes:
        """Close the gates that are not wanted, and those that then lead nowhere."""
        layers: list[tuple[tuple[bool, ...], ...]] = []
        live = list(range(PATHS[-1]))
        for layer in reversed(wanted):
            rows = [tuple(map(bool, row)) for row in layer]
            none = (False,) * len(CELLS)
            layers.insert(0, tuple(row if path in live else none for path, row in enumerate(rows)))
            last = len(layers) == 1
            live = list(range(len(CELLS))) if last else _computed(layers[0])
        return cls(tuple(layers))

    @property
    def complete(self) -> bool:
        """Whether no gate is held closed."""
        return self == self.everything()

    def routed(self, layer: int) -> list[int]:
        """Cells of a layer with a gate that may open."""
        return [c for c in range(len(CELLS)) if any(row[c] for row in self.open[layer])]

    def uses(self, layer: int, cell: int) -> bool:
        """Whether a cell's own output is ever used."""
        return cell in self.routed(layer)

    def computed(self, layer: int) -> list[int]:
        """Cells whose inputs a layer needs.

        The last layer passes on the input of a closed cell, so it needs all. In earlier layers a
        cell counts if it has an open gate; the first always does, since skip connections start at
        its output.
        """
        if layer == len(PATHS) - 1:
            return list(range(len(CELLS)))
        return _computed(self.open[layer])

    def closed(self) -> list[str]:
        """Names of the gates that are held closed."""
        return [name for name, is_open in self._named() if not is_open]

    def removed(self) -> list[str]:
        """Names of the cells that are not computed because no gate is open.

        The first cell of a layer counts too, though its `relu` may remain for skip connections.
        """
        return [
            f"layer{layer}.{name}"
            for layer in range(len(PATHS))
            for cell, name in enumerate(CELLS)
            if not self.uses(layer, cell)
        ]

    def _named(self) -> Iterator[tuple[str, bool]]:
        for layer, rows in enumerate(self.open):
            for path, row in enumerate(rows):
                for cell, is_open in enumerate(row):
                    yield route_name(layer, cell, path), is_open


def route_name(layer: int, cell: int, path: int) -> str:
    """The name of a gate, such as ``layer0.glgc->layer1.ric``."""
    return f"layer{layer}.{CELLS[cell]}->{path_name(layer, path)}"


def path_name(layer: int, path: int) -> str:
    """Where an out-path of a layer leads: a cell of the next layer, or the score."""
    return "score" if layer == len(PATHS) - 1 else f"layer{layer + 1}.{CELLS[path]}"


def _computed(rows: Sequence[Sequence[bool]]) -> list[int]:
    return [c for c in range(len(CELLS)) if c == RIC or any(row[c] for row in rows)]
