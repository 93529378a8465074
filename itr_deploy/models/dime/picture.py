"""The routing graph of a DIME as a picture: the wider an edge, the more it is used."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from itr_deploy.models.dime.routes import CELLS, PATHS
from itr_deploy.models.dime.uses import RouteUse, SkipUse
from itr_deploy.rendering import render

WIDTH, HEIGHT = 880, 560
LEFT, TOP, COLUMN, ROW = 150, 90, 190, 150
BOX_WIDTH, BOX_HEIGHT = 96, 34
WIDEST = 9.0
"""Width in pixels of an edge that makes up all of its aggregate."""

TITLES = {
    "ric": "identity",
    "glgc": "guidance",
    "imrc": "reasoning",
    "cmrc": "refinement",
}


class Box(NamedTuple):
    """A cell or the score: its top middle in pixels, and whether it is in use."""

    x: int
    y: int
    name: str
    used: bool = True


class Edge(NamedTuple):
    """A line from the bottom of one box to the top of another, in pixels.

    ``kind`` is its class: ``e`` for a used gate, ``n`` for an unused one, ``k`` for a skip
    connection.
    """

    kind: str
    start: tuple[int, int]
    end: tuple[int, int]
    width: float
    hint: str = ""


def picture(subject: str, routes: Sequence[RouteUse], skips: Sequence[SkipUse]) -> str:
    """An SVG document: cells by layer, edges as wide as their share of the aggregate they join.

    An edge that was never used is dashed and grey, and so is a cell without a used edge. Skip
    connections are brown and start at the cell whose output or input they carry.

    Args:
        subject: What they were counted on.
        routes: Every gate.
        skips: Every skip connection.
    """
    used = {(use.layer, use.cell) for use in routes if use.share > 0}
    cells = [
        Box(*_into(f"layer{layer}.{cell}"), TITLES[cell], (layer, cell) in used)
        for layer in range(len(PATHS))
        for cell in CELLS
    ]
    return render(
        "itr_deploy.models.dime",
        "routes.svg",
        label="Use of the routes",
        width=WIDTH,
        height=HEIGHT,
        subject=subject,
        edges=[*map(_edge, routes), *(_skip(use) for use in skips if use.used)],
        boxes=[*cells, Box(*_into("score"), "score")],
        box_width=BOX_WIDTH,
        box_height=BOX_HEIGHT,
        layers=[TOP + ROW * layer + 22 for layer in range(len(PATHS))],
    )


def _edge(use: RouteUse) -> Edge:
    hint = (
        f"layer{use.layer}.{use.cell} to {use.path}: 0 in {use.zero:.1%} of the pairs, mean "
        f"{use.mean:.3f}, share {use.share:.3f}"
    )
    kind, width = ("e", _width(use.share)) if use.share > 0 else ("n", 0.8)
    return Edge(kind, _out(use.layer, use.cell), _into(use.path), width, hint)


def _skip(use: SkipUse) -> Edge:
    return Edge("k", _out(use.layer, use.cell), _into(use.path), _width(use.share))


def _width(share: float) -> float:
    return max(0.6, round(WIDEST * share, 2))


def _into(path: str) -> tuple[int, int]:
    """Top middle of the box that a path leads to."""
    if path == "score":
        return LEFT + COLUMN * 3 // 2 + BOX_WIDTH // 2, TOP + ROW * len(PATHS) - 40
    layer, cell = path.removeprefix("layer").split(".")
    return LEFT + COLUMN * CELLS.index(cell) + BOX_WIDTH // 2, TOP + ROW * int(layer)


def _out(layer: int, cell: str) -> tuple[int, int]:
    """Bottom middle of a cell's box."""
    x, y = _into(f"layer{layer}.{cell}")
    return x, y + BOX_HEIGHT
