"""From a decoded picture to what the network reads, as either program resizes it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from itr_deploy.bundle.detector import Dialect, Sides
from itr_deploy.models.detector.config import CAFFE_MEAN


@dataclass(frozen=True, eq=False)
class Prepared:
    """A picture as the network reads it.

    Attributes:
        image: ``float32 [1, 3, H, W]``: blue, green and red less their means.
        scale: Pixels of ``image`` a pixel of the picture, as it was asked for.
        back: What x and y in ``image`` are multiplied by for the picture's own, in ``frcnn-vg``.
    """

    image: Tensor
    scale: float
    back: tuple[float, float]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of ``image``."""
        return self.image.shape[2], self.image.shape[3]


def prepared(dialect: Dialect, picture: Tensor, sides: Sides) -> Prepared:
    """Resize a picture and take the mean.

    Args:
        dialect: Whose resizing.
        picture: ``uint8 [H, W, 3]``: red, green, blue.
        sides: What to resize it to.
    """
    blue_first = picture.flip(2).permute(2, 0, 1).to(torch.float32)
    return (_caffe if dialect == "bua-caffe" else _vg)(blue_first, sides)


def _mean() -> Tensor:
    return torch.tensor(CAFFE_MEAN).reshape(3, 1, 1)


def _caffe(x: Tensor, sides: Sides) -> Prepared:
    """Scaled by one number; a coordinate is divided by it, whatever the sides are rounded to."""
    height, width = x.shape[1:]
    scale = sides.shortest / min(height, width)
    if round(scale * max(height, width)) > sides.longest:
        scale = sides.longest / max(height, width)
    x = _between(x - _mean(), 1, _places(height, round(scale * height), scale))
    x = _between(x, 2, _places(width, round(scale * width), scale))
    return Prepared(x[None], scale, (1 / scale, 1 / scale))


def _places(size: int, new: int, scale: float) -> tuple[Tensor, Tensor, Tensor]:
    """For every new place the old ones before and after it, and the share of the one after."""
    place = (torch.arange(new, dtype=torch.float64) + 0.5) * (1 / scale) - 0.5
    low = place.floor()
    before, after = (at.clamp(0, size - 1).to(torch.int64) for at in (low, low + 1))
    return before, after, (place - low).to(torch.float32)


def _between(x: Tensor, axis: int, places: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    before, after, share = places
    share = share.reshape(-1, *[1] * (x.ndim - 1 - axis))
    return x.index_select(axis, before) * (1 - share) + x.index_select(axis, after) * share


def _vg(x: Tensor, sides: Sides) -> Prepared:
    """Resized to whole sides as PyTorch does it."""
    height, width = x.shape[1:]
    scale = sides.shortest / min(height, width)
    new: tuple[float, float] = (scale * height, float(sides.shortest))
    if height < width:
        new = (float(sides.shortest), scale * width)
    if max(new) > sides.longest:
        shrunk = sides.longest / max(new)
        new = (new[0] * shrunk, new[1] * shrunk)
    rows, columns = int(new[0] + 0.5), int(new[1] + 0.5)
    resized = functional.interpolate(x[None], (rows, columns), mode="bilinear", align_corners=False)
    return Prepared(resized - _mean(), scale, (width / columns, height / rows))
