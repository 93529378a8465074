"""From scores and deltas of all anchors to a picture's proposals."""

from __future__ import annotations

import torch
from torch import Tensor

from itr_deploy.bundle.detector import Proposals
from itr_deploy.models.detector.config import STRIDE, DetectorConfig
from itr_deploy.models.detector.plain.boxes import clipped, decoded, kept_apart
from itr_deploy.models.detector.plain.preparing import Prepared


def proposed(
    config: DetectorConfig,
    settings: Proposals,
    picture: Prepared,
    grid: tuple[int, int],
    scores: Tensor,
    deltas: Tensor,
) -> tuple[Tensor, Tensor]:
    """A picture's proposals, best first.

    Args:
        config: The network.
        settings: How they are chosen.
        picture: The picture, for its size and its scale.
        grid: Rows and columns of its map.
        scores: ``[rows * columns * A]``, the anchors of a cell together.
        deltas: The same with 4.

    Returns:
        Boxes ``[n, 4]`` in pixels of the resized picture, and their scores ``[n]``.
    """
    anchors = _anchors(config, *grid)
    caffe = config.is_caffe
    extra = 1.0 if caffe else 0.0
    if not caffe:
        first = _best(scores, settings.considered)
        anchors, scores, deltas = anchors[first], scores[first], deltas[first]
    boxes = decoded(anchors, deltas, extra, settings.delta_weights)
    boxes = clipped(boxes, picture.size, extra)
    sides = boxes[:, 2:] - boxes[:, :2]
    large = sides.min(1).values > settings.min_side
    if caffe:
        large = (sides > 0).all(1) & (sides.min(1).values + 1 > settings.min_side * picture.scale)
    boxes, scores = boxes[large], scores[large]
    if caffe:
        first = _best(scores, settings.considered)
        boxes, scores = boxes[first], scores[first]
    kept = kept_apart(boxes, scores, settings.overlap, extra, settings.kept)
    return boxes[kept], scores[kept]


def _best(scores: Tensor, count: int) -> Tensor:
    return torch.sort(scores, descending=True, stable=True).indices[:count]


def _anchors(config: DetectorConfig, rows: int, columns: int) -> Tensor:
    """All anchors in the order of the scores, ``[rows * columns * A, 4]``."""
    cells = torch.tensor(config.anchors, dtype=torch.float32)
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    at = STRIDE * torch.stack([x, y, x, y], 2).to(torch.float32)
    return (at.reshape(-1, 1, 4) + cells).reshape(-1, 4)
