"""DIME's four interaction cells, their routers, and the layers they make, as published."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from itr_deploy.models.dime.config import DimeConfig
from itr_deploy.models.dime.routes import CELLS, OFF_THRESHOLD, SUM_EPS
from itr_deploy.models.layers import l2_norm_published


class Guide(NamedTuple):
    """The side that guides: its ``local [n, K, D]`` embeddings and its ``vector [n, D]``."""

    local: Tensor
    vector: Tensor


class Mlp(nn.Module):
    """Two Linears with a ReLU between them."""

    def __init__(self, width: int, hidden: int, out: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, out))


class Router(Mlp):
    """The gates of a cell's out-paths, exactly 0 where a path is closed."""

    def forward(self, x: Tensor) -> Tensor:
        """``[n, P, D] -> [n, paths]``."""
        return functional.relu(torch.tanh(self.mlp(x.mean(dim=-2))))


class Cell(nn.Module):
    """A cell: `forward` refines ``x [n, P, D]``, `router` decides where the result goes."""

    def __init__(self, config: DimeConfig, paths: int) -> None:
        super().__init__()
        self.router = Router(config.embed_dim, config.router_hidden, paths)

    def forward(self, x: Tensor, guide: Guide) -> Tensor:
        """Refine ``x [n or 1, P, D]`` for every pair."""
        raise NotImplementedError


class RectifiedIdentity(Cell):
    """``relu(x)``."""

    def forward(self, x: Tensor, guide: Guide) -> Tensor:
        """``relu(x)``, ``[n, P, D]``."""
        return functional.relu(x)


class GlobalLocalGuidance(Cell):
    """Weights positions by their similarity to the other side's vector.

    ``fc_2`` is in published checkpoints but unused.
    """

    def __init__(self, config: DimeConfig, paths: int) -> None:
        super().__init__(config, paths)
        self.fc_1 = nn.Linear(config.embed_dim, config.embed_dim)
        self.fc_2 = nn.Linear(config.embed_dim, config.embed_dim)

    def forward(self, x: Tensor, guide: Guide) -> Tensor:
        """Weight the positions, ``[n, P, D]``."""
        likeness = self.fc_1(x) * guide.vector.unsqueeze(1)
        return (1 + functional.normalize(likeness, dim=1)) * x


class AttentionLayer(nn.Module):
    """The projections of a self-attention: query, key and value."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linears = nn.ModuleList(nn.Linear(width, width) for _ in range(3))


class FeedForward(nn.Module):
    """The Linears of a feed-forward layer."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)


class SelfAttention(nn.Module):
    """Multi-head self-attention without output projection, norm or mask, and a feed-forward."""

    def __init__(self, config: DimeConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.att_layer = AttentionLayer(config.embed_dim)
        self.feed_forward_layer = FeedForward(config.embed_dim, config.hidden)

    def forward(self, x: Tensor) -> Tensor:
        """``[n, P, D] -> [n, P, D]``."""
        query, key, value = (self._split(linear(x)) for linear in self.att_layer.linears)
        logits = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
        attended = torch.softmax(logits, dim=-1) @ value
        x = x + attended.transpose(1, 2).flatten(2)
        feed = self.feed_forward_layer
        updated: Tensor = x + feed.fc2(functional.relu(feed.fc1(x)))
        return updated

    def _split(self, x: Tensor) -> Tensor:
        """``[n, P, D] -> [n, heads, P, D / heads]``."""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class IntraModalReasoning(Cell):
    """Self-attention among the positions."""

    def __init__(self, config: DimeConfig, paths: int) -> None:
        super().__init__(config, paths)
        self.sa = SelfAttention(config)

    def forward(self, x: Tensor, guide: Guide) -> Tensor:
        """Self-attention over the positions, ``[n, P, D]``."""
        refined: Tensor = self.sa(x)
        return refined


class Refinement(nn.Module):
    """Modulation of local features by what they attend to."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc_scale = nn.Linear(width, width)
        self.fc_shift = nn.Linear(width, width)
        self.fc_1 = nn.Linear(width, width)
        self.fc_2 = nn.Linear(width, width)

    def forward(self, x: Tensor, attended: Tensor) -> Tensor:
        """``[n, P, D]`` both -> ``[n, P, D]``."""
        modulated = x * torch.tanh(self.fc_scale(attended)) + self.fc_shift(attended)
        refined: Tensor = self.fc_2(functional.relu(self.fc_1(modulated))) + x
        return refined


class CrossModalRefinement(Cell):
    """Attention over the other side's local embeddings, then `Refinement`."""

    def __init__(self, config: DimeConfig, paths: int) -> None:
        super().__init__(config, paths)
        self.config = config
        self.refine = Refinement(config.embed_dim)

    def forward(self, x: Tensor, guide: Guide) -> Tensor:
        """Attend to the guide and modulate ``x``, ``[n, P, D]``."""
        refined: Tensor = self.refine(x, self.attend(x, guide.local))
        return refined

    def attend(self, query: Tensor, context: Tensor) -> Tensor:
        """``[n, P, D], [n, K, D] -> [n, P, D]``, the context's mean, weighted for each query."""
        affinity = context @ query.transpose(1, 2)
        affinity = self._normalized(affinity)
        weights = torch.softmax(self.config.temperature * affinity, dim=1)
        return weights.transpose(1, 2) @ context

    def _normalized(self, affinity: Tensor) -> Tensor:
        """First normalisation of ``[n, K, P]``, over the query axis."""
        kind = self.config.attention_norm
        if kind == "softmax":
            return torch.softmax(affinity, dim=2)
        if kind == "l2norm":
            return l2_norm_published(affinity, 2)
        if kind == "no_norm":
            return affinity
        affinity = functional.leaky_relu(affinity, 0.1)
        return functional.normalize(affinity, dim=2) if kind == "clipped_l2norm" else affinity


class DynamicLayer(nn.Module):
    """Four parallel cells and their aggregation by gates.

    Args:
        config: The model's options.
        may_open: Per out-path and cell, False where the gate is held at 0.
    """

    may_open: Tensor

    def __init__(self, config: DimeConfig, may_open: Sequence[Sequence[bool]]) -> None:
        super().__init__()
        paths = len(may_open)
        self.register_buffer("may_open", torch.tensor(may_open), persistent=False)
        self.ric = RectifiedIdentity(config, paths)
        self.glgc = GlobalLocalGuidance(config, paths)
        self.imrc = IntraModalReasoning(config, paths)
        self.cmrc = CrossModalRefinement(config, paths)

    @property
    def cells(self) -> list[Cell]:
        """The cells in the order of `CELLS`."""
        return [self.ric, self.glgc, self.imrc, self.cmrc]

    def gates(self, inputs: Sequence[Tensor]) -> Tensor:
        """Gates ``[n, paths, cells]`` of the cells' inputs ``[n, P, D]``."""
        gates = [cell.router(x) for cell, x in zip(self.cells, inputs, strict=True)]
        return torch.stack(gates, dim=-1) * self.may_open

    def aggregated(self, inputs: Sequence[Tensor], guide: Guide) -> tuple[list[Tensor], Tensor]:
        """Inputs of the next layer's cells, and the gates divided by their sum over the cells."""
        raw = self.gates(inputs)
        skip, gates = route(raw)
        outputs = [cell(x, guide) for cell, x in zip(self.cells, inputs, strict=True)]
        following = []
        for path in range(raw.shape[-2]):
            parts = [gates[:, path, cell, None, None] * out for cell, out in enumerate(outputs)]
            following.append(sum(parts, skip[:, path, None, None] * outputs[0]))
        return following, gates

    def averaged(self, inputs: Sequence[Tensor], guide: Guide) -> tuple[Tensor, Tensor]:
        """The last layer: the cells' gated mean ``[n, P, D]`` and the gates ``[n, 1, cells]``."""
        gates = self.gates(inputs)
        closed = (gates < OFF_THRESHOLD / len(CELLS)).to(gates.dtype)
        total = torch.zeros_like(inputs[0])
        for number, (cell, x) in enumerate(zip(self.cells, inputs, strict=True)):
            gate, skip = gates[:, 0, number, None, None], closed[:, 0, number, None, None]
            total = total + gate * cell(x, guide) + skip * x
        return total / (closed.sum(dim=-1) + gates.sum(dim=-1)).unsqueeze(-1), gates


def route(raw: Tensor) -> tuple[Tensor, Tensor]:
    """Skip connections ``[n, paths]`` and normalised gates from raw ones ``[n, paths, cells]``."""
    total = raw.sum(dim=-1)
    skip = (total < OFF_THRESHOLD).to(raw.dtype)
    return skip, raw / (total + SUM_EPS).unsqueeze(-1)
