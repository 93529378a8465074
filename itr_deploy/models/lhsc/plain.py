"""LHSC as published: a loop over captions, with every step as the program writes it.

The state dict's keys are the published ones below ``image.``, ``text.`` and ``similarity.``, the
three state dicts of a checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from itr_deploy.models.layers import bigru_packed, l2_norm_published
from itr_deploy.models.lhsc.config import LAYERS, REGIONS, LhscConfig
from itr_deploy.models.similarity.plain import GatedSum, Similarity

QUARTERS = ("", "1", "2", "3")
"""Suffixes of the four projections that make up each side of the regions' relation."""


class GraphConvolution(nn.Module):
    """One layer over the regions, ``[N, D, R] -> [N, D, R]``."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.g = nn.Conv1d(width, width, 1)
        self.add_module("W", nn.Sequential(nn.Conv1d(width, width, 1), nn.BatchNorm1d(width)))
        for name in [f"{side}{suffix}" for side in ("theta", "phi") for suffix in QUARTERS]:
            self.add_module(name, nn.Conv1d(width, width // 4, 1))
        self.fc1 = nn.Linear(width, width)
        self.fc2 = nn.Linear(width, width)

    def forward(self, regions: Tensor) -> Tensor:
        """Add to every region what its relations ``A = a b^T / R`` gather from the others."""
        rows = self.fc1(self._project("theta", regions).transpose(1, 2))
        columns = self.fc2(self._project("phi", regions).transpose(1, 2))
        relations = rows @ columns.transpose(1, 2) / regions.shape[2]
        gathered = relations @ self.g(regions).transpose(1, 2)
        update: Tensor = self.get_submodule("W")(gathered.transpose(1, 2))
        return update + regions

    def _project(self, name: str, regions: Tensor) -> Tensor:
        parts = [self.get_submodule(f"{name}{suffix}")(regions) for suffix in QUARTERS]
        return torch.cat(parts, dim=1)


class ImageEncoder(nn.Module):
    """``regions [N, R, Di] -> [N, R, D]``: a Linear and the graph-convolution stack."""

    def __init__(self, config: LhscConfig) -> None:
        super().__init__()
        self.config = config
        self.fc = nn.Linear(config.image_dim, config.embed_dim)
        for number in range(1, LAYERS + 1):
            self.add_module(f"IM_GCN_{number}", GraphConvolution(config.embed_dim))

    @property
    def layers(self) -> list[GraphConvolution]:
        """The graph-convolution stack, first layer first."""
        return [getattr(self, f"IM_GCN_{number}") for number in range(1, LAYERS + 1)]

    def forward(self, regions: Tensor) -> Tensor:
        """Embed the regions of every image."""
        embedded: Tensor = self.fc(regions).transpose(1, 2)
        for layer in self.layers:
            embedded = layer(embedded)
        embedded = embedded.transpose(1, 2)
        return l2_norm_published(embedded, -1) if self.config.image_norm else embedded


class SelfAttention(nn.Module):
    """One layer over the words, ``[C, L, Dw] -> [C, L, Dw]``; every position takes part."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.embedding_local = nn.Sequential(nn.Linear(width, width), nn.Tanh())
        self.embedding_global = nn.Sequential(nn.Linear(width, width), nn.Tanh())
        self.embedding_v = nn.Sequential(nn.Linear(width, width), nn.Tanh())

    def forward(self, words: Tensor) -> Tensor:
        """``(Q K^T / L) U + X``, without a softmax."""
        queries, keys = self.embedding_local(words), self.embedding_global(words)
        relations = queries @ keys.transpose(1, 2) / words.shape[1]
        update: Tensor = relations @ self.embedding_v(words)
        return update + words


class TextEncoder(nn.Module):
    """``token_ids [C, L] -> [C, L, D]``: word embedding, self-attention stack and GRU."""

    def __init__(self, config: LhscConfig) -> None:
        super().__init__()
        self.config = config
        self.embed = nn.Embedding(config.vocab_size, config.word_dim)
        for number in range(1, LAYERS + 1):
            self.add_module(f"W_att{number}", SelfAttention(config.word_dim))
        self.cap_rnn = nn.GRU(
            config.word_dim,
            config.embed_dim,
            config.num_layers,
            batch_first=True,
            bidirectional=True,
        )

    @property
    def layers(self) -> list[SelfAttention]:
        """The self-attention stack, first layer first."""
        return [getattr(self, f"W_att{number}") for number in range(1, LAYERS + 1)]

    def forward(self, token_ids: Tensor, lengths: Tensor) -> Tensor:
        """Embed one batch; its padding takes part in the self-attention, not in the GRU."""
        words = self.embed(token_ids)
        for layer in self.layers:
            words = layer(words)
        words = bigru_packed(self.cap_rnn, words, lengths)
        return l2_norm_published(words, -1) if self.config.text_norm else words


class LhscSimilarity(Similarity):
    """The score of every image with one caption: SGRAF's, with its gated sum."""

    def __init__(self, config: LhscConfig) -> None:
        super().__init__(config.embed_dim, config.sim_dim, REGIONS)
        self.cal_sim_base_atten = GatedSum(config.sim_dim)

    def summary(self, vectors: Tensor) -> Tensor:
        """The gated sum of a pair's vectors."""
        summed: Tensor = self.cal_sim_base_atten(vectors)
        return summed


class Lhsc(nn.Module):
    """LHSC as published, for any captions that are scored together."""

    def __init__(self, config: LhscConfig) -> None:
        super().__init__()
        self.config = config
        self.image = ImageEncoder(config)
        self.text = TextEncoder(config)
        self.similarity = LhscSimilarity(config)

    def encode_images(self, regions: Tensor) -> Tensor:
        """Region embeddings: ``float32 [N, 36, Di] -> [N, 36, D]``."""
        embedded: Tensor = self.image(regions)
        return embedded

    def encode_texts(self, token_ids: Tensor, lengths: Tensor) -> Tensor:
        """Word embeddings: ``int64 [C, L], int64 [C] -> float32 [C, L, D]``, padded positions 0.

        Captions that are padded together are encoded together; with ``true-length`` every caption
        is encoded alone.
        """
        width = self.config.embed_dim
        words = self.text.embed.weight.new_zeros(*token_ids.shape, width)
        for batch, longest in self._batches(lengths):
            encoded = self.text(token_ids[batch, :longest], lengths[batch])
            words[batch, :longest] = encoded
        return words

    def _batches(self, lengths: Tensor) -> Iterator[tuple[slice, int]]:
        """Slices of captions that are encoded together, and the longest of each."""
        size = self.config.padded_together or 1
        for start in range(0, len(lengths), size):
            batch = slice(start, start + size)
            yield batch, int(lengths[batch].max())

    def score(self, regions: Tensor, token_ids: Tensor, lengths: Tensor) -> Tensor:
        """Score all pairs, one caption at a time.

        Args:
            regions: ``float32 [N, 36, Di]``.
            token_ids: ``int64 [C, L]``, padded with 0.
            lengths: ``int64 [C]``, including ``<start>`` and ``<end>``.

        Returns:
            ``float32 [N, C]`` in 0 to 1, higher is better.
        """
        images = self.encode_images(regions)
        return self.match(images, self.encode_texts(token_ids, lengths), lengths)

    def match(self, images: Tensor, words: Tensor, lengths: Tensor) -> Tensor:
        """`score` for encoded items: ``[N, 36, D], [C, L, D], [C] -> [N, C]``."""
        return self.similarity.match(images, words, lengths)
