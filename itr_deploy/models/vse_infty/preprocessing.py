"""From a raw picture to what the backbone reads, as the published evaluation prepares it.

Resized as by OpenCV's ``INTER_LINEAR``: half-pixel centres, clamped edges, nothing against
aliasing, the aspect ratio not kept. PIL's and torchvision's resizing give other scores.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from itr_deploy.models.vse_infty.config import Backbone

CAFFE_MEAN = (102.9801, 115.9465, 122.7717)
"""Blue, green, red, on the scale of 0 to 255."""

IMAGENET_MEAN, IMAGENET_DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Red, green, blue, on the scale of 0 to 1."""


class Preprocessing(nn.Module):
    """Decoded pictures ``uint8 [N, H, W, 3]`` or ``[H, W, 3]`` in RGB -> ``float32 [N, 3, S, S]``.

    A grey picture is repeated three times, and one with alpha, CMYK or 16 bits is made RGB before;
    EXIF rotation is not applied. H and W may be any.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.size = backbone.picture_size
        self.detector = backbone.from_detector
        mean = CAFFE_MEAN if self.detector else IMAGENET_MEAN
        deviation = (1.0, 1.0, 1.0) if self.detector else IMAGENET_DEVIATION
        for name, values in (("mean", mean), ("deviation", deviation)):
            self.register_buffer(name, torch.tensor(values).reshape(3, 1, 1), persistent=False)

    def forward(self, pictures: Tensor) -> Tensor:
        """Resize, and normalise as the backbone's source does."""
        height, width = pictures.shape[-3:-1]
        # Cast first: TensorRT knows no other operator on bytes.
        x = pictures.to(torch.float32).reshape(-1, height, width, 3)
        low, high, share = _sources(height, self.size)
        upper, lower = x.index_select(1, low), x.index_select(1, high)
        columns = _sources(width, self.size)
        upper, lower = _across(upper, *columns), _across(lower, *columns)
        resized = _between(upper, lower, share.reshape(-1, 1, 1)).permute(0, 3, 1, 2)
        if self.detector:
            return resized.flip(1) - self.mean
        return (resized / 255 - self.mean) / self.deviation


def _across(rows: Tensor, low: Tensor, high: Tensor, share: Tensor) -> Tensor:
    left, right = rows.index_select(2, low), rows.index_select(2, high)
    return _between(left, right, share.reshape(-1, 1))


def _between(first: Tensor, second: Tensor, share: Tensor) -> Tensor:
    return first * (1 - share) + second * share


def _sources(pixels: int, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Between which two pixels of an axis the new ones lie: ``int64 [S]`` twice, and how far.

    Positions ``(i + 1/2) pixels / size - 1/2`` are fractions over ``2 size``. Their parts are
    integers: rounded to float32, positions would move values by up to a hundredth of a grey level.
    """
    whole = 2 * size
    places = ((2 * torch.arange(size) + 1) * pixels - size).clamp(0, whole * (pixels - 1))
    low = torch.div(places, whole, rounding_mode="floor")
    share = (places - whole * low).to(torch.float32) / whole
    return low, (low + 1).clamp(max=pixels - 1), share
