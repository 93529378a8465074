"""A decoded picture as the input of a detector: resized bilinearly, blue first, without the mean.

The two dialects differ in sizes, in the coordinates that are sampled, and in the order of steps.
Both are followed to the rounding: the boxes of a picture depend on it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from itr_deploy.bundle.detector import LEAST_SIDE, Dialect, Sides
from itr_deploy.errors import InputError
from itr_deploy.runtime.pictures.decode import Pixels

MEAN = np.array([102.9801, 115.9465, 122.7717], np.float32)
"""Of blue, green and red, by both dialects; they divide by 1."""


class Resizing(NamedTuple):
    """How a picture is resized.

    Attributes:
        height: Of the resized picture.
        width: Of the resized picture.
        scale: s of ``bua-caffe``, the scale that was asked for; what results differs by rounding.
    """

    height: int
    width: int
    scale: float


@dataclass(frozen=True, eq=False)
class Prepared:
    """A picture as a detector takes it.

    Attributes:
        name: What it is called in a message.
        image: ``float32 [3, H, W]``: blue, green, red, less the mean.
        scale: s, see `Resizing`.
        picture_size: Width and height of the picture as it was decoded.
    """

    name: str
    image: NDArray[np.float32]
    scale: float
    picture_size: tuple[int, int]

    @property
    def resized(self) -> tuple[int, int]:
        """Height and width of the resized picture."""
        _, height, width = self.image.shape
        return height, width


def prepared(pixels: Pixels, name: str, dialect: Dialect, sides: Sides) -> Prepared:
    """Resize a picture and take the mean off it.

    Args:
        pixels: ``uint8 [H, W, 3]``, red, green, blue.
        name: What the picture is called in a message.
        dialect: The detector's.
        sides: What it resizes pictures to.

    Raises:
        InputError: The picture is so long that its shorter side vanishes.
    """
    height, width = pixels.shape[:2]
    size = resizing(height, width, dialect, sides)
    if min(size.height, size.width) < LEAST_SIDE:
        raise InputError(
            f"{name}: {width} x {height} pixels become {size.width} x {size.height} for the "
            f"detector, which takes {LEAST_SIDE} at least; cut the picture"
        )
    means_first = dialect == "bua-caffe"
    coordinates = _by_scale(size.scale) if means_first else _by_sizes
    rows = coordinates(height, size.height)
    columns = coordinates(width, size.width)
    image = _sampled(pixels, rows, columns, MEAN if means_first else np.zeros(3, np.float32))
    if not means_first:
        image -= MEAN[:, None, None]
    return Prepared(name, image, size.scale, (width, height))


def resizing(height: int, width: int, dialect: Dialect, sides: Sides) -> Resizing:
    """The size that a picture is resized to: of given sides, without changing its shape."""
    shorter, longer = min(height, width), max(height, width)
    scale = sides.shortest / shorter
    if dialect == "bua-caffe":
        if round(scale * longer) > sides.longest:
            scale = sides.longest / longer
        return Resizing(round(scale * height), round(scale * width), scale)
    sizes = (
        (float(sides.shortest), scale * width)
        if height < width
        else (scale * height, float(sides.shortest))
    )
    if max(sizes) > sides.longest:
        less = sides.longest / max(sizes)
        sizes = (sizes[0] * less, sizes[1] * less)
    return Resizing(int(sizes[0] + 0.5), int(sizes[1] + 0.5), scale)


class Samples(NamedTuple):
    """Where each pixel of a resized side lies between two of the picture's.

    Attributes:
        low: ``int64 [n]``, the lower pixel.
        high: ``int64 [n]``, the upper one.
        share: ``float32 [n]``, the upper one's share.
    """

    low: NDArray[np.int64]
    high: NDArray[np.int64]
    share: NDArray[np.float32]


def _by_scale(scale: float) -> Callable[[int, int], Samples]:
    """OpenCV's coordinates: by the scale that was asked for, up to half a pixel off at the end."""

    def coordinates(size: int, resized: int) -> Samples:
        return _samples((np.arange(resized) + 0.5) * (1 / scale) - 0.5, size)

    return coordinates


def _by_sizes(size: int, resized: int) -> Samples:
    """PyTorch's coordinates: by the ratio of the sizes, rounded to float32 once."""
    ratio = np.float32(size) / np.float32(resized)
    exact = (np.arange(resized) + 0.5) * float(ratio) - 0.5
    return _samples(exact.astype(np.float32), size)


def _samples(coordinates: NDArray[np.floating], size: int) -> Samples:
    below = np.floor(coordinates)
    low = below.astype(np.int64)
    share = (coordinates - below).astype(np.float32)
    return Samples(low.clip(0, size - 1), (low + 1).clip(0, size - 1), share)


def _sampled(
    pixels: Pixels, rows: Samples, columns: Samples, mean: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Bilinear samples, ``float32 [3, H, W]``, blue first; only they are ever float32."""
    between = columns.share[:, None]

    def line(which: NDArray[np.int64]) -> NDArray[np.float32]:
        own = pixels[which]
        left, right = (
            own[:, places, ::-1].astype(np.float32) - mean for places in (columns.low, columns.high)
        )
        left *= 1 - between
        right *= between
        left += right
        return left

    upper, lower = line(rows.low), line(rows.high)
    share = rows.share[:, None, None]
    upper *= 1 - share
    lower *= share
    upper += lower
    return np.ascontiguousarray(upper.transpose(2, 0, 1))
