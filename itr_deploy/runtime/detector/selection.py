"""Which proposals become regions, and what each of them is."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from itr_deploy.bundle.detector import Dialect, Selection
from itr_deploy.runtime.detector.geometry import Boxes, clipped, overlaps, regressed
from itr_deploy.runtime.detector.preparing import Prepared
from itr_deploy.runtime.detector.suppression import Rule, by_score, surviving

Probabilities = NDArray[np.float32]


class Judged(NamedTuple):
    """What a detector's second network says of a picture's proposals.

    Attributes:
        features: ``float32 [P, D]``.
        classes: ``float32 [P, K + 1]``, probabilities; the background is first in ``bua-caffe``,
            last in ``frcnn-vg``.
        attributes: ``float32 [P, 401]`` in ``bua-caffe``, "none" first, ``[P, 400]`` in
            ``frcnn-vg``; None without an attribute head.
        deltas: ``float32 [P, 4 * K]``, a regression for each class, in ``frcnn-vg`` alone.
    """

    features: NDArray[np.float32]
    classes: Probabilities
    attributes: Probabilities | None
    deltas: NDArray[np.float32] | None


class Selected(NamedTuple):
    """The regions of a picture.

    Attributes:
        proposals: ``int64 [R]``, which proposals they are.
        boxes: ``float32 [R, 4]`` in pixels of the picture as it was decoded.
        enough: Whether they are as many as were asked for.
    """

    proposals: NDArray[np.int64]
    boxes: Boxes
    enough: bool


def selected(
    boxes: Boxes, judged: Judged, picture: Prepared, dialect: Dialect, settings: Selection
) -> Selected:
    """Choose a picture's regions among its proposals.

    Args:
        boxes: ``float32 [P, 4]``, the proposals, in pixels of the resized picture.
        judged: What is said of them.
        picture: The picture.
        dialect: The detector's.
        settings: How many regions, and the thresholds.
    """
    if dialect == "bua-caffe":
        original = boxes / np.float32(picture.scale)
        own = confident(original, judged.classes[:, 1:], settings)
        return Selected(own, original[own], len(own) >= settings.min_boxes)
    return _regressed(boxes, judged, picture, settings)


def confident(boxes: Boxes, classes: Probabilities, settings: Selection) -> NDArray[np.int64]:
    """Caffe's selection: the boxes that some class is confident of after its own suppression.

    Args:
        boxes: ``float32 [P, 4]``, in pixels of the picture as it was decoded.
        classes: ``float32 [P, K]``, probabilities without the background's.
        settings: How many regions, and the thresholds.

    Returns:
        ``int64 [R]``: in the order of the proposals, if all who pass are taken, else the most
        confident first.
    """
    least = np.float32(settings.confidence or 0)
    confidence = _confidences(boxes, classes, settings, least)
    passed = np.flatnonzero(confidence >= least)
    if len(passed) < settings.min_boxes:
        return by_score(confidence)[: settings.min_boxes]
    if len(passed) > settings.max_boxes:
        return by_score(confidence)[: settings.max_boxes]
    return passed


def _confidences(
    boxes: Boxes, classes: Probabilities, settings: Selection, least: np.float32
) -> NDArray[np.float32]:
    """Each box's largest probability among the classes in which it survives.

    Those are exact which a selection can depend on. One that is below ``least`` and below that of
    the last box of ``min_boxes`` changes nothing, whatever it is exactly: most classes have no
    other, and are not looked at.
    """
    rule = Rule.of("bua-caffe", settings.overlaps[0])
    suppresses = rule.suppresses(overlaps(boxes[:, None], boxes[None], rule.plus))
    confidence = np.zeros(len(boxes), np.float32)
    best = classes.max(axis=0, initial=0)
    for number in by_score(best):
        needed = min(least, _ranked(confidence, settings.min_boxes))
        if best[number] < needed:
            break
        own = classes[:, number]
        # Whether a box survives depends on better boxes alone.
        places = np.flatnonzero(own >= needed)
        gone = np.zeros(len(boxes), bool)
        for place in places[by_score(own[places])]:
            if not gone[place]:
                gone |= suppresses[place]
                confidence[place] = max(confidence[place], own[place])
    return confidence


def _ranked(values: NDArray[np.float32], rank: int) -> np.float32:
    """The value of a rank, from the largest on; 0 where there are fewer."""
    if rank > len(values):
        return np.float32(0)
    return np.float32(np.partition(values, len(values) - rank)[len(values) - rank])


def _regressed(boxes: Boxes, judged: Judged, picture: Prepared, settings: Selection) -> Selected:
    """The port's selection: each box regressed for its class, then one suppression over all."""
    assert judged.deltas is not None, "checked as the bundle is opened"
    assert settings.delta_weights is not None, "checked as the bundle is opened"
    classes = judged.classes[:, :-1]
    own, scores = classes.argmax(axis=1), classes.max(axis=1, initial=0)
    each = judged.deltas.reshape(len(boxes), classes.shape[1], 4)[np.arange(len(boxes)), own]
    moved = clipped(regressed(boxes, each, settings.delta_weights, plus=0), picture.resized, plus=0)
    kept = np.zeros(0, np.int64)
    for overlap in settings.overlaps:
        rule = Rule.of("frcnn-vg", overlap)
        kept = surviving(moved, scores, rule, settings.max_boxes)
        if len(kept) >= settings.min_boxes:
            break
    height, width = picture.resized
    by = np.array([picture.picture_size[0] / width, picture.picture_size[1] / height], np.float32)
    return Selected(kept, moved[kept] * np.tile(by, 2), len(kept) >= settings.min_boxes)


class Named(NamedTuple):
    """The most probable class or attribute of each region.

    Attributes:
        numbers: ``int64 [R]``, counted from 0 without the background or "none".
        confidence: ``float32 [R]``, its probability.
    """

    numbers: NDArray[np.int64]
    confidence: NDArray[np.float32]


def most_probable_class(classes: Probabilities, dialect: Dialect) -> Named:
    """The most probable classes, of probabilities ``[R, K + 1]``."""
    return _best(classes[:, 1:] if dialect == "bua-caffe" else classes[:, :-1])


def most_probable_attribute(attributes: Probabilities, dialect: Dialect) -> Named:
    """The most probable attributes, of probabilities ``[R, 401]`` or ``[R, 400]``."""
    return _best(attributes[:, 1:] if dialect == "bua-caffe" else attributes)


def _best(probabilities: Probabilities) -> Named:
    numbers = probabilities.argmax(axis=1)
    return Named(numbers, np.take_along_axis(probabilities, numbers[:, None], axis=1)[:, 0])
