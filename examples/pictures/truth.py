"""What an annotator would say of a picture: a box, a class and an attribute for every object."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from examples.shapes.drawing import PICTURE_SIDE
from examples.shapes.scenes import COLOURS, SHAPES, Scene, generator, sample_scene

CLASSES, ATTRIBUTES = SHAPES, COLOURS
"""Names of the detector's classes and attributes, in the order of their numbers from 0."""

_MARGIN = 1.0  # pixels that a box is wider than its object on each side


@dataclass(frozen=True, eq=False)
class Objects:
    """The objects of one picture.

    Attributes:
        boxes: `float32 [T, 4]`, x1, y1, x2, y2 in pixels of the picture; squares.
        classes: `int64 [T]`, numbers of `CLASSES`.
        attributes: `int64 [T]`, numbers of `ATTRIBUTES`.
    """

    boxes: NDArray[np.float32]
    classes: NDArray[np.int64]
    attributes: NDArray[np.int64]


def objects_of(picture_id: str) -> Objects:
    """The objects of the picture with this id, such as `train_0017`."""
    split, _, index = picture_id.rpartition("_")
    return annotated(sample_scene(generator(split, int(index), "scene")))


def annotated(scene: Scene) -> Objects:
    """The objects of a scene."""
    boxes = [
        [PICTURE_SIDE * end + sign * (PICTURE_SIDE * obj.radius + _MARGIN) for sign, end in ends]
        for obj in scene.objects
        for ends in [((-1, obj.x), (-1, obj.y), (1, obj.x), (1, obj.y))]
    ]
    return Objects(
        np.array(boxes, np.float32),
        np.array([CLASSES.index(obj.shape) for obj in scene.objects]),
        np.array([ATTRIBUTES.index(obj.colour) for obj in scene.objects]),
    )
