"""Where regions are in their pictures: checks of boxes and sizes, and random ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itr_deploy.errors import InputError

FORM = "boxes are x1, y1, x2, y2 and picture_sizes width, height, both in pixels"


@dataclass(frozen=True, eq=False)
class Placed:
    """Where the regions of an image are.

    Attributes:
        boxes: ``float32 [R, 4]``, x1, y1, x2, y2 in pixels, in the order of the regions.
        picture_size: ``float32 [2]``, the picture's width and height in pixels.
    """

    boxes: NDArray[np.float32]
    picture_size: NDArray[np.float32]


def checked_places(
    boxes: Any, sizes: NDArray[Any], names: Sequence[object] | NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Boxes and picture sizes of one batch as contiguous float32.

    Args:
        boxes: ``[n, R, 4]``.
        sizes: ``[n, 2]``.
        names: What each image is called in a message: its number among all images, or its id.

    Raises:
        InputError: A box is not finite or has no height or width, all of an image are parts of the
            picture rather than pixels, or a picture has no size.
    """
    found, pictures = (np.ascontiguousarray(array, np.float32) for array in (boxes, sizes))
    empty = (found[..., 2] <= found[..., 0]) | (found[..., 3] <= found[..., 1])
    bad = empty | ~np.isfinite(found).all(axis=-1)
    if bad.any():
        place, region = np.argwhere(bad)[0]
        values = ", ".join(f"{value:.6g}" for value in found[place, region])
        raise InputError(
            f"box {region} of image {names[place]} ({values}) has no width or height, or is not "
            f"finite; leave the region out, in its features too; {FORM}"
        )
    # A detector finds nothing as small as a pixel; extractors divide boxes by the picture's size.
    shares = (np.abs(found) <= 1).all(axis=(1, 2)) & (pictures.max(axis=1) > 2)
    if shares.any():
        place = int(np.flatnonzero(shares)[0])
        width, height = pictures[place]
        raise InputError(
            f"all boxes of image {names[place]} lie between 0 and 1, in parts of its picture of "
            f"{width:.6g} x {height:.6g}; multiply x by its width and y by its height; {FORM}"
        )
    wrong = ~((pictures > 0) & np.isfinite(pictures)).all(axis=1)
    if wrong.any():
        place = int(np.flatnonzero(wrong)[0])
        raise InputError(
            f"the picture of image {names[place]} has size {pictures[place].tolist()}; {FORM}"
        )
    return found, pictures


def random_places(
    rng: np.random.Generator, images: int, regions: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Random boxes ``float32 [images, regions, 4]``, and picture sizes ``float32 [images, 2]``."""
    sizes = rng.integers(200, 1000, size=(images, 1, 2)).astype(np.float32)
    ends = np.sort(rng.random((images, regions, 2, 2), dtype=np.float32), axis=2)
    ends[:, :, 1] = ends[:, :, 0] + 0.02 + 0.9 * (ends[:, :, 1] - ends[:, :, 0])
    return (ends * sizes[:, :, None]).reshape(images, regions, 4), sizes[:, 0]
