"""GPO, the generalised pooling operator, as published (section 3.3 of the paper)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from itr_deploy.models.layers import bigru_packed, position_mask

CODE = 32
"""Width of a position's code, and of the GRU that reads the codes."""

TEMPERATURE = 0.1
"""Divisor of the weights' logits."""

FILL = -10000.0
"""Stands for padding where features are sorted: below every feature, also in half precision."""


class Gpo(nn.Module):
    """Sorts every feature over an item's positions and sums by weights of the places."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(CODE, CODE, batch_first=True, bidirectional=True)
        self.linear = nn.Linear(CODE, 1, bias=False)

    def weights(self, lengths: Tensor, positions: int) -> Tensor:
        """Weights of the sorted places: ``int64 [N] -> float32 [N, positions]``.

        They depend on an item's number of positions alone, and are exactly 0 beyond it.
        """
        codes = position_codes(positions).to(self.linear.weight.dtype)
        states = bigru_packed(self.gru, codes.expand(len(lengths), -1, -1), lengths)
        logits = self.linear(states).squeeze(2)
        logits = logits.masked_fill(~position_mask(lengths, positions), FILL)
        return torch.softmax(logits / TEMPERATURE, dim=1)

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        """Pool each item's true positions: ``[N, K, D], int64 [N] -> [N, D]``."""
        padding = ~position_mask(lengths, features.shape[1]).unsqueeze(2)
        ordered = features.masked_fill(padding, FILL).sort(dim=1, descending=True).values
        weights = self.weights(lengths, features.shape[1]).unsqueeze(2)
        return (ordered.masked_fill(padding, 0) * weights).sum(dim=1)


def position_codes(positions: int) -> Tensor:
    """Sines and cosines of positions from 0 on, alternating, ``float32 [positions, 32]``."""
    rates = torch.exp(torch.arange(0, CODE, 2, dtype=torch.float32) * (-math.log(10000.0) / CODE))
    angles = torch.arange(positions, dtype=torch.float32).unsqueeze(1) * rates
    return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)
