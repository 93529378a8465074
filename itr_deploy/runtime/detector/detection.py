"""What a detector finds in a picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Detection:
    """The regions of one picture, in the order of the published program.

    Numbers of classes and attributes are those of the lists that detectors on Visual Genome come
    with (``objects_vocab.txt``, ``attributes_vocab.txt``), from 0.

    Attributes:
        features: ``float32 [R, D]``.
        boxes: ``float32 [R, 4]``: x1, y1, x2, y2 in pixels of the picture, turned upright.
        picture_size: Its width and height in pixels.
        classes: ``int64 [R]``, the most probable class.
        class_confidence: ``float32 [R]``, its probability.
        attributes: ``int64 [R]``, the most probable attribute; None where a detector has none.
        attribute_confidence: ``float32 [R]``, its probability.
        enough: Whether there are as many regions as were asked for at least.
    """

    features: NDArray[np.float32]
    boxes: NDArray[np.float32]
    picture_size: tuple[int, int]
    classes: NDArray[np.int64]
    class_confidence: NDArray[np.float32]
    attributes: NDArray[np.int64] | None
    attribute_confidence: NDArray[np.float32] | None
    enough: bool

    def __len__(self) -> int:
        return len(self.boxes)
