"""From refined features to one vector per pair."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Pooling(nn.Module):
    """A batch norm at every position, then mean plus maximum over the positions.

    The norm is affine per channel, so it is applied after pooling. Where its factor is negative,
    the smallest value gives the maximum.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, norm: nn.BatchNorm1d) -> None:
        super().__init__()
        scale, shift = folded(norm)
        self.register_buffer("scale", scale)
        self.register_buffer("shift", 2 * shift)
        self.rising = bool((scale >= 0).all())

    def forward(self, x: Tensor) -> Tensor:
        """``[n, P, D] -> [n, D]``."""
        extreme = x.amax(dim=1)
        if not self.rising:
            extreme = torch.where(self.scale < 0, x.amin(dim=1), extreme)
        return (x.mean(dim=1) + extreme) * self.scale + self.shift


def folded(norm: nn.BatchNorm1d) -> tuple[Tensor, Tensor]:
    """Factor and summand ``[D]`` of a batch norm in evaluation."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = (norm.weight / torch.sqrt(norm.running_var + norm.eps)).detach()
    return scale, (norm.bias - norm.running_mean * scale).detach()
