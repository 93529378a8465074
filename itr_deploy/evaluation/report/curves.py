"""Recall curves as SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

WIDTH, HEIGHT = 460, 280
LEFT, RIGHT, TOP, BOTTOM = 44, 14, 14, 36
TICKS = (1, 2, 5, 10, 20, 50, 100)


def recall_svg(
    title: str, depths: Sequence[int], lines: Sequence[tuple[str, Sequence[float]]]
) -> str:
    """Curves over a logarithmic axis of depths.

    Args:
        title: What the picture shows, for those who cannot see it.
        depths: From 1.
        lines: Name and percentages at the depths, one a stage; line n has the class ``line-n``.
    """
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">',
        *(_level(percent) for percent in range(0, 101, 20)),
        *(_tick(depth, depths[-1]) for depth in TICKS if depth <= depths[-1]),
        f'<text class="axis" x="{(LEFT + WIDTH - RIGHT) / 2:.0f}" y="{HEIGHT - 4}" '
        'text-anchor="middle">K</text>',
    ]
    for number, (name, values) in enumerate(lines):
        points = " ".join(
            f"{_x(depth, depths[-1]):.1f},{_y(value):.1f}"
            for depth, value in zip(depths, values, strict=True)
        )
        parts.append(
            f'<polyline class="line-{number}" points="{points}"><title>{escape(name)}</title>'
            "</polyline>"
        )
    return "".join([*parts, "</svg>"])


def _x(depth: int, deepest: int) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * math.log(depth) / math.log(max(deepest, 2))


def _y(percent: float) -> float:
    return TOP + (HEIGHT - TOP - BOTTOM) * (1 - percent / 100)


def _level(percent: int) -> str:
    y = _y(percent)
    return (
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text class="axis" x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{percent}</text>'
    )


def _tick(depth: int, deepest: int) -> str:
    x = _x(depth, deepest)
    return (
        f'<text class="axis" x="{x:.1f}" y="{HEIGHT - BOTTOM + 16}" '
        f'text-anchor="middle">{depth}</text>'
    )
