"""Similarity vectors as published: one caption at a time, with every step as the programs write it.

The state dict's keys are those that the programs share.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional

from itr_deploy.models.layers import l1_norm_published, l2_norm_published

TEMPERATURE = 9.0
"""Factor on the attention logits of a word over the regions."""


class GlobalAttention(nn.Module):
    """One vector from an item's parts, ``[N, P, D] -> [N, D]``.

    For images it has batch normalisations, over the region number and over D; for captions none.
    """

    def __init__(self, width: int, regions: int | None) -> None:
        super().__init__()

        def projection(channels: int) -> nn.Sequential:
            norm = [nn.BatchNorm1d(channels)] if regions else []
            return nn.Sequential(nn.Linear(width, width), *norm, nn.Tanh())

        self.embedding_local = projection(regions or width)
        self.embedding_global = projection(width)
        self.embedding_common = nn.Sequential(nn.Linear(width, 1))

    def forward(self, parts: Tensor) -> Tensor:
        """Weight the parts by their agreement with their mean, and normalise the sum."""
        mean = self.embedding_global(parts.mean(dim=1)).unsqueeze(1)
        weights = torch.softmax(self.embedding_common(self.embedding_local(parts) * mean), dim=1)
        return l2_norm_published((weights * parts).sum(dim=1), -1)


class GatedSum(nn.Module):
    """Gated sum of similarity vectors, ``[N, K, S] -> [N, S]``."""

    def __init__(self, sim_dim: int) -> None:
        super().__init__()
        self.attn_sim_w = nn.Linear(sim_dim, 1)
        self.bn = nn.BatchNorm1d(1)

    def forward(self, vectors: Tensor) -> Tensor:
        """Weight each vector by its gate; the gates sum to 1 over the K vectors."""
        logits = self.bn(self.attn_sim_w(vectors).transpose(1, 2))
        gates = l1_norm_published(torch.sigmoid(logits), -1)
        return l2_norm_published((gates @ vectors).squeeze(1), -1)


class Similarity(nn.Module, ABC):
    """The score of every image with one caption.

    A family adds its own layers, and with `summary` what they make of a pair's vectors.
    """

    def __init__(self, width: int, sim_dim: int, regions: int) -> None:
        super().__init__()
        self.v_global_w = GlobalAttention(width, regions)
        self.t_global_w = GlobalAttention(width, None)
        self.sim_tranloc_w = nn.Linear(width, sim_dim)
        self.sim_tranglo_w = nn.Linear(width, sim_dim)
        self.sim_eval_w = nn.Linear(sim_dim, 1)

    @abstractmethod
    def summary(self, vectors: Tensor) -> Tensor:
        """One vector from those of each pair, ``[N, 1 + L, S] -> [N, S]``."""

    def local(self, regions: Tensor, caption: Tensor) -> Tensor:
        """A vector for every word before its norm, ``[N, R, D], [L, D] -> [N, L, S]``."""
        words = caption.expand(len(regions), *caption.shape)
        vectors: Tensor = self.sim_tranloc_w((attend(words, regions) - words).pow(2))
        return vectors

    def forward(self, regions: Tensor, vectors: Tensor, caption: Tensor) -> Tensor:
        """``regions [N, R, D], image vectors [N, D], caption [L, D] -> [N]``."""
        difference = vectors - self.t_global_w(caption.unsqueeze(0))
        overall = self.sim_tranglo_w(difference.pow(2)).unsqueeze(1)
        both = [l2_norm_published(part, -1) for part in (overall, self.local(regions, caption))]
        scores: Tensor = self.sim_eval_w(self.summary(torch.cat(both, dim=1)))
        return torch.sigmoid(scores).squeeze(1)

    def match(self, images: Tensor, words: Tensor, lengths: Tensor) -> Tensor:
        """Score all pairs, one caption at a time: ``[N, R, D], [C, L, D], [C] -> [N, C]``."""
        vectors = self.v_global_w(images)
        columns = [
            self(images, vectors, caption[:length])
            for caption, length in zip(words, lengths.tolist(), strict=True)
        ]
        return torch.stack(columns, dim=1)


def attend(words: Tensor, regions: Tensor) -> Tensor:
    """What every word sees of the regions: ``[N, L, D], [N, R, D] -> [N, L, D]``."""
    affinity = functional.leaky_relu(regions @ words.transpose(1, 2), 0.1)
    weights = torch.softmax(TEMPERATURE * l2_norm_published(affinity, 2), dim=1)
    return l2_norm_published(weights.transpose(1, 2) @ regions, -1)
