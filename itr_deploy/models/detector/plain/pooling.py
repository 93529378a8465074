"""RoIPool as published: the maximum of a map in each of 14 x 14 bins of a box."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from itr_deploy.models.detector.config import POOLED, STRIDE


def pooled(res4: Tensor, boxes: Tensor) -> Tensor:
    """Pool boxes of a map.

    Args:
        res4: ``[C, h, w]``.
        boxes: ``[R, 4]`` in pixels of the resized picture.

    Returns:
        ``[R, C, 14, 14]``; a bin without a cell is 0.
    """
    return torch.stack([_pooled(res4, box) for box in boxes.tolist()])


def _pooled(res4: Tensor, box: list[float]) -> Tensor:
    """One box: the maxima of its rows of cells, then of their columns."""
    columns, rows = _bins(box[0], box[2], res4.shape[2]), _bins(box[1], box[3], res4.shape[1])
    by_row = torch.stack([_most(res4[:, first:end], 1) for first, end in rows], 1)
    return torch.stack([_most(by_row[:, :, first:end], 2) for first, end in columns], 2)


def _most(cells: Tensor, axis: int) -> Tensor:
    """The maxima along an axis, 0 where there is none."""
    return cells.amax(axis) if cells.shape[axis] else cells.sum(axis)


def _bins(low: float, high: float, cells: int) -> list[tuple[int, int]]:
    """First cell of each bin along an axis, and the one behind its last."""
    start, end = _cell(low), _cell(high)
    size = np.float32(max(end - start + 1, 1)) / np.float32(POOLED)
    bins = []
    for place in range(POOLED):
        first = start + int(np.floor(np.float32(place) * size))
        behind = start + int(np.ceil(np.float32(place + 1) * size))
        bins.append((min(max(first, 0), cells), min(max(behind, 0), cells)))
    return bins


def _cell(pixel: float) -> int:
    """The cell of a coordinate: rounded, halves upwards."""
    scaled = pixel / STRIDE
    return math.floor(scaled) + (scaled - math.floor(scaled) >= 0.5)
