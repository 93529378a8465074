"""Which proposals become a picture's regions, by either program."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from itr_deploy.bundle.detector import Selection
from itr_deploy.models.detector.config import DetectorConfig
from itr_deploy.models.detector.plain.boxes import clipped, decoded, kept_apart, overlaps
from itr_deploy.models.detector.plain.preparing import Prepared


@dataclass(frozen=True, eq=False)
class Selected:
    """The chosen proposals.

    Attributes:
        places: ``int64 [n]``, which proposals.
        boxes: ``[n, 4]`` in pixels of the picture.
    """

    places: Tensor
    boxes: Tensor


def selected(
    config: DetectorConfig,
    settings: Selection,
    picture: Prepared,
    proposals: Tensor,
    probabilities: Tensor,
    deltas: Tensor | None,
) -> Selected:
    """Choose regions.

    Args:
        config: The network.
        settings: How many, and how far apart.
        picture: The picture.
        proposals: ``[R, 4]`` in pixels of the resized picture.
        probabilities: ``[R, K]`` of the classes.
        deltas: ``[R, 4 (K - 1)]``, which only ``frcnn-vg`` has.
    """
    if deltas is None:
        return _caffe(settings, picture, proposals, probabilities)
    return _vg(config, settings, picture, proposals, probabilities, deltas)


def _caffe(
    settings: Selection, picture: Prepared, proposals: Tensor, probabilities: Tensor
) -> Selected:
    """The proposals themselves, by their best probability of a class that they survived in."""
    boxes = proposals / picture.scale
    near = overlaps(boxes, boxes, extra=1.0) >= settings.overlaps[0]
    scores = probabilities[:, 1:]
    confidence = (scores * _kept_apart_by_class(near, scores)).max(1).values
    assert settings.confidence is not None
    places = (confidence >= settings.confidence).nonzero()[:, 0]
    by_confidence = torch.sort(confidence, descending=True, stable=True).indices
    if len(places) < settings.min_boxes:
        places = by_confidence[: settings.min_boxes]
    elif len(places) > settings.max_boxes:
        places = by_confidence[: settings.max_boxes]
    return Selected(places, boxes[places])


def _kept_apart_by_class(near: Tensor, scores: Tensor) -> Tensor:
    """Greedy suppression in every class at once, one rank after the other.

    Args:
        near: ``bool [n, n]``, which boxes suppress each other.
        scores: ``[n, classes]``.

    Returns:
        ``bool [n, classes]``: which boxes are left in which classes.
    """
    left = torch.ones_like(scores, dtype=torch.bool)
    columns = torch.arange(scores.shape[1])
    for best in torch.sort(scores, dim=0, descending=True, stable=True).indices:
        counts = left[best, columns]
        left &= ~(near[best].T & counts)
        left[best, columns] = counts
    return left


def _vg(
    config: DetectorConfig,
    settings: Selection,
    picture: Prepared,
    proposals: Tensor,
    probabilities: Tensor,
    deltas: Tensor,
) -> Selected:
    """The boxes of the best classes, apart from one another whatever their class."""
    scores, classes = probabilities[:, :-1].max(1)
    own = deltas.reshape(len(proposals), config.classes, 4)[torch.arange(len(proposals)), classes]
    assert settings.delta_weights is not None
    boxes = clipped(decoded(proposals, own, 0.0, settings.delta_weights), picture.size, 0.0)
    places = torch.arange(0)
    for overlap in settings.overlaps:
        places = kept_apart(boxes, scores, overlap, 0.0, settings.max_boxes)
        if len(places) >= settings.min_boxes:
            break
    x, y = picture.back
    return Selected(places, boxes[places] * torch.tensor([x, y, x, y]))
