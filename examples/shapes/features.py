"""Region features of a picture, computed from its pixels alone.

A picture is cut into 36 overlapping windows at four scales. Each is described by its colours, the
directions of its edges, the outline of what stands out from the background, and its place.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from examples.shapes.drawing import PICTURE_SIDE

Floats = NDArray[np.float64]

# A pyramid: shrink the picture by this factor, then cut windows of 20 by 20 pixels at these
# offsets: 5x5 windows of a third of the side, 3x3 of half of it, the middle two thirds, the whole.
_LEVELS = ((2, (0, 10, 20, 30, 40)), (3, (0, 10, 20)), (4, (5,)), (6, (0,)))
_WINDOW = 20

REGIONS = sum(len(offsets) ** 2 for _, offsets in _LEVELS)
FEATURE_DIM = 102

# RGB distances (colours in [0, 1]) from the background: light and shadow stay within the first;
# beyond the second it is surely an object.
_BACKGROUND_ENDS, _OBJECT_BEGINS = 0.12, 0.32

# Width of the bell, in window sides, that makes objects cut off by a window's edge count less.
_BELL = 0.3

# Added to a window's mean foreground before dividing by it, so that empty windows are near 0.
_LITTLE = 0.01
_LEAST_SPREAD = 0.02

_HUES, _DIRECTIONS, _QUADRANT_DIRECTIONS = 12, 16, 8
_GREYS, _GREY_WIDTH = np.array([0.15, 0.5, 0.85]), 0.2
_RING_EDGES = np.linspace(0, 2, 7)
_HARMONICS = range(2, 8)
_HARMONIC_SCALE = 4.0  # scales them to the size of the histograms

# Centres of a window's pixels, across and down.
_MIDDLES = (np.arange(_WINDOW) + 0.5) / _WINDOW
_DOWN, _ACROSS = np.meshgrid(_MIDDLES, _MIDDLES, indexing="ij")
_CENTRE_WEIGHTS = np.exp(-((_DOWN - 0.5) ** 2 + (_ACROSS - 0.5) ** 2) / (2 * _BELL**2))


def region_features(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The features `[36, FEATURE_DIM]` of an RGB picture `[120, 120, 3]`.

    Raises:
        ValueError: The picture has another size.
    """
    if picture.shape != (PICTURE_SIDE, PICTURE_SIDE, 3):
        raise ValueError(
            f"a picture is {PICTURE_SIDE} x {PICTURE_SIDE} RGB pixels, not {picture.shape}"
        )
    windows, boxes = _windows(picture / 255)
    background = np.median(picture[::2, ::2] / 255, axis=(0, 1))
    foreground = _foreground(windows, background)
    blocks = (
        _colours(windows, foreground),
        np.tile(background, (REGIONS, 1)),
        _edges(foreground),
        _rings(foreground),
        _harmonics(foreground),
        _extent_and_place(foreground, boxes),
    )
    return np.concatenate(blocks, axis=1).astype(np.float32)


def region_boxes() -> NDArray[np.float32]:
    """Where the regions are, `[36, 4]`: x1, y1, x2, y2 in pixels, the same in every picture."""
    _, boxes = _windows(np.zeros((PICTURE_SIDE, PICTURE_SIDE, 3)))
    corners = np.hstack([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]])
    return (corners * PICTURE_SIDE).astype(np.float32)


def _windows(pixels: Floats) -> tuple[Floats, Floats]:
    """The windows `[36, 20, 20, 3]` and their boxes `[36, 3]` (left, top, side, in [0, 1])."""
    windows, boxes = [], []
    for shrink, offsets in _LEVELS:
        side = PICTURE_SIDE // shrink
        level = pixels.reshape(side, shrink, side, shrink, 3).mean(axis=(1, 3))
        for top in offsets:
            for left in offsets:
                windows.append(level[top : top + _WINDOW, left : left + _WINDOW])
                boxes.append((left / side, top / side, _WINDOW / side))
    return np.stack(windows), np.array(boxes)


@dataclass(frozen=True)
class _Foreground:
    """What stands out from the background in each window.

    Attributes:
        weights: How much each pixel stands out, `[36, 20, 20]`.
        total: The sum of the weights `[36, 1]`, never 0.
        centre: Their mean position `[36, 2]` (across, down), in window sides.
        x: Each pixel's horizontal offset from that centre, `[36, 20, 20]`.
        y: Each pixel's vertical offset, downwards.
        spread: Root mean square distance from the centre, `[36, 1]`.
    """

    weights: Floats
    total: Floats
    centre: Floats
    x: Floats
    y: Floats
    spread: Floats


def _foreground(windows: Floats, background: Floats) -> _Foreground:
    distance = np.sqrt(((windows - background) ** 2).sum(axis=-1))
    rise = (distance - _BACKGROUND_ENDS) / (_OBJECT_BEGINS - _BACKGROUND_ENDS)
    weights = rise.clip(0, 1) * _CENTRE_WEIGHTS
    total = _sum(weights) + _LITTLE * _WINDOW**2
    centre = np.hstack([_sum(weights * _ACROSS), _sum(weights * _DOWN)]) / total
    x, y = _ACROSS - centre[:, :1, None], _DOWN - centre[:, 1:, None]
    spread = np.sqrt(_sum(weights * (x**2 + y**2)) / total) + _LEAST_SPREAD
    return _Foreground(weights, total, centre, x, y, spread)


def _colours(windows: Floats, foreground: _Foreground) -> Floats:
    """The foreground's hues, greys and mean colour `[36, 18]`."""
    red, green, blue = np.moveaxis(windows, -1, 0)
    alpha, beta = red - (green + blue) / 2, (green - blue) * math.sqrt(3) / 2
    chroma = np.hypot(alpha, beta)
    hues = _circular_histogram(np.arctan2(beta, alpha), foreground.weights * chroma, _HUES)
    lightness = (red + green + blue) / 3
    colourless = foreground.weights * (1 - chroma)
    greys = [_sum(colourless * (np.abs(lightness - grey) < _GREY_WIDTH)) for grey in _GREYS]
    means = np.einsum("wyxc,wyx->wc", windows, foreground.weights)
    shares = np.sqrt(np.hstack([hues, *greys]) / foreground.total)
    return np.hstack([shares, means / foreground.total])


def _edges(foreground: _Foreground) -> Floats:
    """Directions of the edges `[36, 49]`: overall, per quadrant, and how much edge there is."""
    by_y, by_x = np.gradient(foreground.weights, axis=(1, 2))
    strength, direction = np.hypot(by_x, by_y), np.arctan2(by_y, by_x)
    total = _sum(strength) + _LITTLE * _WINDOW**2
    quadrant = 2 * (foreground.x > 0) + (foreground.y > 0)
    histograms = [_circular_histogram(direction, strength, _DIRECTIONS)] + [
        _circular_histogram(direction, strength * (quadrant == q), _QUADRANT_DIRECTIONS)
        for q in range(4)
    ]
    edge_per_area = total / (foreground.total + total)
    return np.hstack([np.sqrt(np.hstack(histograms) / total), edge_per_area])


def _rings(foreground: _Foreground) -> Floats:
    """Foreground at increasing distances from its centre `[36, 6]`: a ring has none near it."""
    radius = np.hypot(foreground.x, foreground.y) / foreground.spread[..., None]
    within = np.hstack([_sum(foreground.weights * (radius < edge)) for edge in _RING_EDGES])
    return np.sqrt(np.diff(within, axis=1) / foreground.total)


def _harmonics(foreground: _Foreground) -> Floats:
    """How the outline repeats round its centre `[36, 12]`: 3 times for a triangle, 5 for a star."""
    radius, angle = np.hypot(foreground.x, foreground.y), np.arctan2(foreground.y, foreground.x)
    weights = foreground.weights * (radius / foreground.spread[..., None]) ** 2
    once = np.exp(1j * angle)
    waves = np.hstack([_sum(weights * once**k) for k in _HARMONICS]) / foreground.total
    return _HARMONIC_SCALE * np.hstack([waves.real, waves.imag])


def _extent_and_place(foreground: _Foreground, boxes: Floats) -> Floats:
    """How big the foreground is and where it is, in the window and in the picture `[36, 14]`."""
    side = boxes[:, 2:]
    area = _sum(foreground.weights) / _WINDOW**2
    extent = (area, np.sqrt(area), foreground.spread, foreground.spread * side, side)
    off_centre = foreground.centre - 0.5
    place = boxes[:, :2] + side * foreground.centre
    product = place[:, :1] * place[:, 1:]
    return np.hstack([*extent, off_centre, np.abs(off_centre), place, place**2, product])


def _circular_histogram(angles: Floats, weights: Floats, bins: int) -> Floats:
    """Weights summed by angle `[36, bins]`, shared between the two nearest bins."""
    position = (angles * (bins / (2 * math.pi))) % bins
    below = position.astype(int) % bins
    share = position % 1
    row = np.arange(REGIONS)[:, None, None] * bins
    size = REGIONS * bins
    nearer = np.bincount((row + below).ravel(), (weights * (1 - share)).ravel(), size)
    farther = np.bincount((row + (below + 1) % bins).ravel(), (weights * share).ravel(), size)
    return (nearer + farther).reshape(REGIONS, bins).astype(np.float64)


def _sum(values: Floats) -> Floats:
    """The sum `[36, 1]` over each window."""
    sums: Floats = values.sum(axis=(1, 2))
    return sums[:, None]
