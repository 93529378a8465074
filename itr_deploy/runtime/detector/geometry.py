"""Boxes: regression, clipping and overlap. A box is x1, y1, x2, y2, ``float32 [.., 4]``.

The dialects count a side either as the distance of its ends, or as Caffe does with one pixel more;
``plus`` is that pixel, 0 or 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[np.float32]

MOST_GROWTH = np.float32(math.log(1000 / 16))
"""Largest logarithm of a regressed side over the former one."""


def regressed(boxes: Boxes, deltas: Boxes, weights: Sequence[float], plus: int) -> Boxes:
    """Boxes moved and resized by a network's regression.

    Args:
        boxes: ``[n, 4]``.
        deltas: ``[n, 4]``: shifts of the centre in sides, and logarithms of the sides' growth.
        weights: What the four are divided by first.
        plus: What a side has more than its ends' distance, 0 or 1.

    Returns:
        ``[n, 4]``; their ends are the centre and half of a side, without ``plus``.
    """
    sides = boxes[:, 2:] - boxes[:, :2] + np.float32(plus)
    centres = boxes[:, :2] + sides / 2
    moves = deltas / np.asarray(weights, np.float32)
    centres = centres + moves[:, :2] * sides
    halves = np.exp(np.minimum(moves[:, 2:], MOST_GROWTH)) * sides / 2
    return np.concatenate([centres - halves, centres + halves], axis=1)


def clipped(boxes: Boxes, size: tuple[int, int], plus: int) -> Boxes:
    """Boxes cut off at the picture's ends.

    Args:
        boxes: ``[n, 4]``.
        size: The picture's height and width.
        plus: What a side has more than its ends' distance: with 1 the last pixel is W - 1.
    """
    height, width = (np.float32(side - plus) for side in size)
    return np.clip(boxes, np.float32(0), np.array([width, height, width, height], np.float32))


def areas(boxes: Boxes, plus: int) -> NDArray[np.float32]:
    """Areas of boxes ``[.., 4]``."""
    sides = boxes[..., 2:] - boxes[..., :2] + np.float32(plus)
    return np.asarray(sides[..., 0] * sides[..., 1])


def overlaps(one: Boxes, others: Boxes, plus: int) -> NDArray[np.float32]:
    """Intersection over union of boxes ``[.., 4]``, broadcast; 0 where both have no area."""
    low = np.maximum(one[..., :2], others[..., :2])
    high = np.minimum(one[..., 2:], others[..., 2:])
    sides = np.maximum(high - low + np.float32(plus), 0)
    shared = sides[..., 0] * sides[..., 1]
    union = areas(one, plus) + areas(others, plus) - shared
    found: NDArray[np.float32] = np.divide(
        shared, union, out=np.zeros_like(shared), where=union > 0
    )
    return found
