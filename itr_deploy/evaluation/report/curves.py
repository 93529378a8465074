"""Lays out recall curves for a picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 460, 280
LEFT, RIGHT, TOP, BOTTOM = 44, 446, 14, 244
"""Edges of the area inside the axes."""
TICKS = (1, 2, 5, 10, 20, 50, 100)


@dataclass(frozen=True)
class Chart:
    """Curves over a logarithmic axis of depths, in pixels.

    Attributes:
        title: What it shows.
        levels: Percentages and their vertical positions.
        ticks: Depths and their horizontal positions.
        lines: Name and points of every curve.
    """

    title: str
    levels: list[tuple[int, float]]
    ticks: list[tuple[int, float]]
    lines: list[tuple[str, list[tuple[float, float]]]]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = RIGHT
    bottom: int = BOTTOM


def recall_chart(
    title: str, depths: Sequence[int], curves: Sequence[tuple[str, Sequence[float]]]
) -> Chart:
    """Lay out curves.

    Args:
        title: What they show.
        depths: Values of K, from 1.
        curves: Name and percentages at the depths, one per stage.
    """

    def x(depth: int) -> float:
        return round(LEFT + (RIGHT - LEFT) * math.log(depth) / math.log(max(depths[-1], 2)), 1)

    def y(percent: float) -> float:
        return round(TOP + (BOTTOM - TOP) * (1 - percent / 100), 1)

    return Chart(
        title,
        levels=[(percent, y(percent)) for percent in range(0, 101, 20)],
        ticks=[(depth, x(depth)) for depth in TICKS if depth <= depths[-1]],
        lines=[
            (name, [(x(depth), y(value)) for depth, value in zip(depths, values, strict=True)])
            for name, values in curves
        ],
    )
