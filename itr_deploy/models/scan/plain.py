"""SCAN as published: a loop over captions, with every step as the paper writes it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from itr_deploy.models.first_norm import first_norm
from itr_deploy.models.layers import NORM_EPS, bigru_packed, gru_packed, l2_norm_published
from itr_deploy.models.scan.config import ScanConfig


class ImageEncoder(nn.Module):
    """``regions [N, R, Di] -> [N, R, D]``: one Linear."""

    def __init__(self, config: ScanConfig) -> None:
        super().__init__()
        self.fc = nn.Linear(config.image_dim, config.embed_dim)


class TextEncoder(nn.Module):
    """Word embedding and GRU; the two ways to run it are in `layers`."""

    def __init__(self, config: ScanConfig) -> None:
        super().__init__()
        self.embed = nn.Embedding(config.vocab_size, config.word_dim)
        self.rnn = nn.GRU(
            config.word_dim,
            config.embed_dim,
            config.num_layers,
            batch_first=True,
            bidirectional=config.bidirectional,
        )


class Scan(nn.Module):
    """SCAN as published. The two parts' state dicts have the published keys."""

    def __init__(self, config: ScanConfig) -> None:
        super().__init__()
        self.config = config
        self.image = ImageEncoder(config)
        self.text = TextEncoder(config)

    def encode_images(self, regions: Tensor) -> Tensor:
        """Region embeddings: ``float32 [N, R, Di] -> [N, R, D]``."""
        embedded: Tensor = self.image.fc(regions)
        return l2_norm_published(embedded, -1) if self.config.image_norm else embedded

    def encode_texts(self, token_ids: Tensor, lengths: Tensor) -> Tensor:
        """Word embeddings: ``int64 [C, L], int64 [C] -> float32 [C, L, D]``, padded positions 0."""
        run = bigru_packed if self.config.bidirectional else gru_packed
        words = run(self.text.rnn, self.text.embed(token_ids), lengths)
        return l2_norm_published(words, -1) if self.config.text_norm else words

    def score(self, regions: Tensor, token_ids: Tensor, lengths: Tensor) -> Tensor:
        """Score all pairs as the published program does, one caption at a time.

        Args:
            regions: ``float32 [N, R, Di]``.
            token_ids: ``int64 [C, L]``, padded with 0.
            lengths: ``int64 [C]``, including ``<start>`` and ``<end>``.

        Returns:
            ``float32 [N, C]``, higher is better.
        """
        words = self.encode_texts(token_ids, lengths)
        return self.match(self.encode_images(regions), words, lengths)

    def match(self, images: Tensor, words: Tensor, lengths: Tensor) -> Tensor:
        """`score` for encoded items: ``[N, R, D], [C, L, D], [C] -> [N, C]``."""
        columns = []
        for caption, length in zip(words, lengths.tolist(), strict=True):
            repeated = caption[:length].expand(images.shape[0], length, -1)
            sides = (repeated, images) if self.config.direction == "t2i" else (images, repeated)
            weights = self.attend(*sides)
            cosines = published_cosine(sides[0], weights.transpose(1, 2) @ sides[1])
            columns.append(aggregate(self.config, cosines))
        return torch.stack(columns, dim=1)

    def attend(self, query: Tensor, context: Tensor) -> Tensor:
        """Attention ``[N, Lc, Lq]`` of ``query [N, Lq, D]`` over ``context [N, Lc, D]``."""
        raw = context @ query.transpose(1, 2)
        affinity = first_norm(self.config.attention_norm, raw, 2, l2_norm_published)
        return torch.softmax(self.config.temperature * affinity, dim=1)


def published_cosine(a: Tensor, b: Tensor) -> Tensor:
    """Cosine over the last axis, with the *product* of both norms at least 1e-8."""
    norms: Tensor = a.norm(dim=-1) * b.norm(dim=-1)
    return (a * b).sum(dim=-1) / norms.clamp(min=NORM_EPS)


def aggregate(config: ScanConfig, cosines: Tensor) -> Tensor:
    """A score ``[N]`` from the cosines ``[N, Lq]`` of all queries; section 3.1 of the paper."""
    if config.aggregation == "LogSumExp":
        return torch.logsumexp(config.sharpness * cosines, dim=1) / config.sharpness
    if config.aggregation == "Max":
        return cosines.amax(dim=1)
    return cosines.mean(dim=1) if config.aggregation == "Mean" else cosines.sum(dim=1)
