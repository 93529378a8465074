"""One direction of a LeaPRR, as published: a small transformer over a query and its candidates."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from itr_deploy.models.contract import RerankNetwork
from itr_deploy.models.leaprr.config import LeaprrConfig


class Leaprr(RerankNetwork):
    """Scores candidates from the affinities of the query and its candidates to the pillars.

    The attribute names are those of the published checkpoint.
    """

    def __init__(self, config: LeaprrConfig) -> None:
        super().__init__()
        self.config = config
        self.pillars = config.pillars
        self.ln = nn.LayerNorm(config.pillars)
        self.ln1 = nn.LayerNorm(config.pillars)
        self.topk_proj = nn.Linear(2 * config.pillars, config.embed_dim)
        self.blocks = nn.ModuleList(_Block(config) for _ in range(config.depth))

    def forward(self, affinities: Tensor, edges: Tensor) -> Tensor:
        """Cosines ``[B, K - 1]`` of the query's row with each candidate's, after the blocks."""
        rows = functional.normalize(self.rows(affinities, edges), dim=-1)
        return (rows[:, 1:] * rows[:, :1]).sum(dim=-1)

    def rows(self, affinities: Tensor, edges: Tensor) -> Tensor:
        """Output of the blocks for the query and its candidates, ``[B, K, E]``."""
        inter, intra = affinities.chunk(2, dim=-1)
        x = self.topk_proj(torch.cat((self.ln(inter), self.ln1(intra)), dim=-1))
        for block in self.blocks:
            x = block(x, edges)
        return x  # type: ignore[no-any-return]


class _Block(nn.Module):
    """Attention and MLP, each with a norm before it and a residual connection."""

    def __init__(self, config: LeaprrConfig) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.embed_dim)
        self.attn = _Attention(config)
        self.norm2 = nn.LayerNorm(config.embed_dim)
        self.mlp = _Mlp(config)

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x), edges)
        return x + self.mlp(self.norm2(x))  # type: ignore[no-any-return]


class _Attention(nn.Module):
    """Attention whose weights are the mean of the softmax and of the edges, in every head."""

    def __init__(self, config: LeaprrConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.width = config.embed_dim // config.heads
        self.qkv = nn.Linear(config.embed_dim, 3 * config.embed_dim)
        self.proj = nn.Linear(config.embed_dim, config.embed_dim)

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        query, key, value = (self._split(part) for part in self.qkv(x).chunk(3, dim=-1))
        weights = (query @ key.transpose(-2, -1) * self.width**-0.5).softmax(dim=-1)
        mixed = (weights + edges.unsqueeze(1)) / 2 @ value
        return self.proj(mixed.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]

    def _split(self, x: Tensor) -> Tensor:
        """``[B, K, E] -> [B, heads, K, E / heads]``."""
        return x.reshape(*x.shape[:2], self.heads, self.width).transpose(1, 2)


class _Mlp(nn.Module):
    """Two Linears with the exact GELU between them."""

    def __init__(self, config: LeaprrConfig) -> None:
        super().__init__()
        self.fc1 = nn.Linear(config.embed_dim, config.hidden)
        self.fc2 = nn.Linear(config.hidden, config.embed_dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(functional.gelu(self.fc1(x)))  # type: ignore[no-any-return]
