"""Boxes ``float32 [n, 4]`` (x1, y1, x2, y2): decoding, clipping, overlaps, greedy suppression."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

LARGEST = math.log(1000 / 16)
"""Most of dw and dh before their exponential."""


def decoded(boxes: Tensor, deltas: Tensor, extra: float, weights: Sequence[float]) -> Tensor:
    """Boxes moved and resized by their deltas ``[n, 4]``.

    Args:
        boxes: What the deltas refer to.
        deltas: dx, dy, dw, dh.
        extra: 1 where a box from pixel 3 to pixel 3 is 1 wide, else 0.
        weights: What the deltas are divided by.
    """
    dx, dy, dw, dh = (deltas / torch.tensor(list(weights), dtype=torch.float32)).unbind(1)
    x1, y1, x2, y2 = boxes.unbind(1)
    width, height = x2 - x1 + extra, y2 - y1 + extra
    x, y = x1 + 0.5 * width + dx * width, y1 + 0.5 * height + dy * height
    width, height = width * dw.clamp(max=LARGEST).exp(), height * dh.clamp(max=LARGEST).exp()
    corners = (x - 0.5 * width, y - 0.5 * height, x + 0.5 * width, y + 0.5 * height)
    return torch.stack(corners, 1)


def clipped(boxes: Tensor, size: tuple[int, int], extra: float) -> Tensor:
    """Boxes within a picture of ``size``, height and width."""
    height, width = size
    most = torch.tensor([width, height, width, height], dtype=torch.float32) - extra
    return torch.minimum(boxes.clamp(min=0), most)


def kept_apart(
    boxes: Tensor, scores: Tensor, overlap: float, extra: float, most: int | None = None
) -> Tensor:
    """Greedy suppression, best first; of equal scores the first is the better.

    With ``extra`` 1, as in Caffe, sides are one longer and an overlap of exactly ``overlap``
    suppresses. With ``most`` it ends after so many.

    Returns:
        The places that are left, best first.
    """
    order = torch.sort(scores, descending=True, stable=True).indices
    left = order
    kept: list[Tensor] = []
    while len(left) and len(kept) != most:
        best, left = left[0], left[1:]
        kept.append(best)
        shared = overlaps(boxes[best][None], boxes[left], extra)[0]
        left = left[shared < overlap] if extra else left[shared <= overlap]
    return torch.stack(kept) if kept else order


def overlaps(ours: Tensor, theirs: Tensor, extra: float) -> Tensor:
    """Intersection over union, ``[n, 4], [m, 4] -> [n, m]``."""
    a, b = ours[:, None], theirs[None]
    sides = torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2]) + extra
    shared = sides.clamp(min=0).prod(2)
    area, other = ((x[..., 2:] - x[..., :2] + extra).prod(2) for x in (a, b))
    return shared / (area + other - shared)
