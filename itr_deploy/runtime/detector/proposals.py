"""Proposals: the best boxes that a detector's first network sees anything in."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from itr_deploy.bundle.detector import DetectorManifest
from itr_deploy.runtime.detector.geometry import Boxes, clipped, regressed
from itr_deploy.runtime.detector.suppression import Rule, by_score, surviving


class Candidates(NamedTuple):
    """What the first network gives for one picture, in the order of (y, x, anchor).

    Attributes:
        scores: ``float32 [h * w * A]``, probabilities or logits.
        deltas: ``float32 [h * w * A, 4]``, regression of the anchors.
        grid: h and w.
    """

    scores: NDArray[np.float32]
    deltas: Boxes
    grid: tuple[int, int]


class Proposed(NamedTuple):
    """Proposals of one picture, the best first.

    Attributes:
        boxes: ``float32 [P, 4]`` in pixels of the resized picture.
        scores: ``float32 [P]``.
    """

    boxes: Boxes
    scores: NDArray[np.float32]


def proposed(
    found: Candidates,
    manifest: DetectorManifest,
    resized: tuple[int, int],
    scale: float,
    kept: int | None = None,
) -> Proposed:
    """Choose a picture's proposals.

    Args:
        found: What the network gave.
        manifest: The detector's settings.
        resized: Height and width of the resized picture.
        scale: What it was resized by.
        kept: How many proposals to keep at most, instead of the manifest's number.

    Returns:
        At most that many; none, where every side of every box is too short.
    """
    settings, caffe = manifest.proposals, manifest.dialect == "bua-caffe"
    plus = int(caffe)
    scores, deltas, boxes = found.scores, found.deltas, anchors(manifest, found.grid)
    if not caffe:
        # Of the best, some are dropped for their sides later: fewer than asked for take part.
        best = by_score(scores)[: settings.considered]
        scores, deltas, boxes = scores[best], deltas[best], boxes[best]
    boxes = clipped(regressed(boxes, deltas, settings.delta_weights, plus), resized, plus)
    sides = boxes[:, 2:] - boxes[:, :2]
    least = np.float32(settings.min_side * scale if caffe else settings.min_side)
    large = (sides + np.float32(plus) > least).all(axis=1)
    if caffe:
        large &= (sides > 0).all(axis=1)
    boxes, scores = boxes[large], scores[large]
    if caffe:
        best = by_score(scores)[: settings.considered]
        boxes, scores = boxes[best], scores[best]
    rule = Rule.of(manifest.dialect, settings.overlap)
    own = surviving(boxes, scores, rule, kept or settings.kept)
    return Proposed(boxes[own], scores[own])


def anchors(manifest: DetectorManifest, grid: tuple[int, int]) -> Boxes:
    """Every anchor of a map, ``float32 [h * w * A, 4]``, in pixels of the resized picture."""
    cells = np.asarray(manifest.anchors, np.float32)
    rows, columns = (np.arange(size, dtype=np.float32) * manifest.stride for size in grid)
    y, x = np.meshgrid(rows, columns, indexing="ij")
    places = np.stack([x, y, x, y], axis=-1)
    return (places[:, :, None] + cells).reshape(-1, 4)
