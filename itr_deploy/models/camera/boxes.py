"""Where an image's regions are: boxes in pixels, and the size of the picture."""

from __future__ import annotations

import logging

import torch
from torch import Tensor

from itr_deploy.errors import InputError

SLACK = 0.05
"""Share of a picture's side by which detectors' boxes may lie outside without a warning."""

FORM = "boxes are x1, y1, x2, y2 in pixels, sizes are width, height"

log = logging.getLogger(__name__)


def box_features(boxes: Tensor, sizes: Tensor) -> Tensor:
    """Six numbers of every region: corner, width and height as shares, width by height, and area.

    Args:
        boxes: ``float32 [N, R, 4]``, x1, y1, x2, y2.
        sizes: ``[N, 2]``, the pictures' widths and heights.

    Returns:
        ``float32 [N, R, 6]``.
    """
    left, top, right, bottom = boxes.unbind(dim=2)
    width, height = sizes.to(boxes.dtype).unsqueeze(1).unbind(dim=2)
    wide, high = right - left, bottom - top
    area = wide * high / (width * height)
    return torch.stack(
        [left / width, top / height, wide / width, high / height, wide / high, area], dim=2
    )


def check_boxes(boxes: Tensor, sizes: Tensor) -> None:
    """Refuse boxes that have no features; warn of those that are probably something else.

    Raises:
        InputError: A box has no height or is not finite, or a picture has no size; the message
            names the first such image.
    """
    if boxes.shape[2:] != (4,) or sizes.shape[1:] != (2,) or len(boxes) != len(sizes):
        raise InputError(
            f"boxes {list(boxes.shape)} and sizes {list(sizes.shape)} should be [N, R, 4] and "
            f"[N, 2]; {FORM}"
        )
    bad = ~boxes.isfinite().all(dim=2) | (boxes[..., 3] == boxes[..., 1])
    if bad.any():
        image = int(bad.any(dim=1).nonzero()[0])
        region = int(bad[image].nonzero()[0])
        values = ", ".join(f"{value:.6g}" for value in boxes[image, region].tolist())
        raise InputError(
            f"image {image}: box {region} ({values}) has no height, or is not finite; leave the "
            f"region out in its features too; {FORM}"
        )
    unsized = ~(sizes > 0).all(dim=1) | ~sizes.isfinite().all(dim=1)
    if unsized.any():
        image = int(unsized.nonzero()[0])
        raise InputError(f"image {image}: its size is {sizes[image].tolist()}; {FORM}")
    odd = _odd(boxes, sizes.to(boxes.dtype))
    if odd.any():
        image = int(odd.any(dim=1).nonzero()[0])
        log.warning(
            "%d of %d images have boxes outside of their picture or with x2 < x1 or y2 < y1, the "
            "first is image %d with %d of %d; %s",
            int(odd.any(dim=1).sum()),
            len(odd),
            image,
            int(odd[image].sum()),
            odd.shape[1],
            FORM,
        )


def _odd(boxes: Tensor, sizes: Tensor) -> Tensor:
    """Which boxes cannot be what they should be, ``bool [N, R]``."""
    sides = sizes.unsqueeze(1)
    first, second = boxes[..., :2], boxes[..., 2:]
    outside = (first < -SLACK * sides) | (second > (1 + SLACK) * sides)
    return (outside | (second < first)).any(dim=2)
