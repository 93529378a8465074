"""Boxes in batches, `float32 [.., 4]`, as the Caffe program counts: both end pixels are inside."""

from __future__ import annotations

import torch
from torch import Tensor

from itr_deploy.models.detector.config import STRIDE


def overlaps(boxes: Tensor, others: Tensor) -> Tensor:
    """Intersection over union, `[B, n, 4], [B, m, 4] -> [B, n, m]`."""
    one, other = boxes[:, :, None], others[:, None]
    low = torch.maximum(one[..., :2], other[..., :2])
    high = torch.minimum(one[..., 2:], other[..., 2:])
    shared = (high - low + 1).clamp(min=0).prod(-1)
    area, more = ((x[..., 2:] - x[..., :2] + 1).prod(-1) for x in (one, other))
    return shared / (area + more - shared)


def deltas_of(anchors: Tensor, boxes: Tensor) -> Tensor:
    """What makes anchors to boxes: shifts in sides, and logarithms of the sides' growth."""
    own, wanted = (_centred(x) for x in (anchors, boxes))
    shift = (wanted[..., :2] - own[..., :2]) / own[..., 2:]
    return torch.cat([shift, (wanted[..., 2:] / own[..., 2:]).log()], -1)


def centred(x: Tensor, y: Tensor, width: Tensor, height: Tensor) -> Tensor:
    """Boxes by their centres and sides."""
    sides = torch.stack([width, height], -1)
    first = torch.stack([x, y], -1) - sides / 2
    return torch.cat([first, first + sides - 1], -1)


def grid_of(anchors: Tensor, rows: int, columns: int) -> Tensor:
    """Every anchor of a map, `[rows * columns * A, 4]`, anchors fastest."""
    y, x = torch.meshgrid(
        torch.arange(rows) * STRIDE, torch.arange(columns) * STRIDE, indexing="ij"
    )
    return (torch.stack([x, y, x, y], -1)[:, :, None] + anchors).reshape(-1, 4).float()


def square_anchors(sides: tuple[float, ...]) -> tuple[tuple[float, float, float, float], ...]:
    """Cell anchors of these sides, round the middle of a cell as in the Caffe program."""
    middle = (STRIDE - 1) / 2
    ends = [(middle - (side - 1) / 2, middle + (side - 1) / 2) for side in sides]
    return tuple((low, low, high, high) for low, high in ends)


def _centred(boxes: Tensor) -> Tensor:
    sides = boxes[..., 2:] - boxes[..., :2] + 1
    return torch.cat([boxes[..., :2] + sides / 2, sides], -1)
