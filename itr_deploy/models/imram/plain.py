"""IMRAM as published: a loop over captions, with every step as the paper writes it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from itr_deploy.models.first_norm import first_norm
from itr_deploy.models.imram.config import ImramConfig
from itr_deploy.models.layers import NORM_EPS, bigru_packed, l2_norm_published


class ImageEncoder(nn.Module):
    """``regions [B, R, Di] -> [B, R, D]``: one Linear."""

    def __init__(self, config: ImramConfig) -> None:
        super().__init__()
        self.fc_local = nn.Linear(config.image_dim, config.embed_dim)

    def forward(self, regions: Tensor) -> Tensor:
        """Project the regions; the caller normalises them."""
        embedded: Tensor = self.fc_local(regions)
        return embedded


class TextEncoder(nn.Module):
    """Word embedding and bidirectional GRU; the two ways to run it are in `layers`."""

    def __init__(self, config: ImramConfig) -> None:
        super().__init__()
        self.embed = nn.Embedding(config.vocab_size, config.word_dim)
        self.rnn = nn.GRU(
            config.word_dim,
            config.embed_dim,
            config.num_layers,
            batch_first=True,
            bidirectional=True,
        )


class Imram(nn.Module):
    """IMRAM as published. The state dict has the published keys, less ``module.``."""

    def __init__(self, config: ImramConfig) -> None:
        super().__init__()
        self.config = config
        self.img_enc = ImageEncoder(config)
        self.txt_enc = TextEncoder(config)
        width = config.embed_dim
        for branch in ("t2i", "i2t"):
            self.add_module(f"linear_{branch}", nn.Linear(2 * width, width))
            self.add_module(f"gate_{branch}", nn.Linear(2 * width, width))

    def encode_images(self, regions: Tensor) -> Tensor:
        """Region embeddings: ``float32 [N, R, Di] -> [N, R, D]``."""
        embedded: Tensor = self.img_enc(regions)
        return l2_norm_published(embedded, -1) if self.config.image_norm else embedded

    def encode_texts(self, token_ids: Tensor, lengths: Tensor) -> Tensor:
        """Word embeddings: ``int64 [C, L], int64 [C] -> float32 [C, L, D]``, padded positions 0."""
        words = bigru_packed(self.txt_enc.rnn, self.txt_enc.embed(token_ids), lengths)
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
        images = self.encode_images(regions)
        return self.match(images, self.encode_texts(token_ids, lengths), lengths)

    def step_scores(self, regions: Tensor, token_ids: Tensor, lengths: Tensor) -> dict[str, Tensor]:
        """The score of every step: ``{"text" and/or "image": float32 [T, N, C]}``."""
        images = self.encode_images(regions)
        return self._match(images, self.encode_texts(token_ids, lengths), lengths)

    def match(self, images: Tensor, words: Tensor, lengths: Tensor) -> Tensor:
        """`score` for encoded items: ``[N, R, D], [C, L, D], [C] -> [N, C]``."""
        branches = self._match(images, words, lengths).values()
        return torch.stack([scores.sum(dim=0) for scores in branches]).sum(dim=0)

    def _match(self, images: Tensor, words: Tensor, lengths: Tensor) -> dict[str, Tensor]:
        by_branch: dict[str, list[Tensor]] = {}
        for caption, length in zip(words, lengths.tolist(), strict=True):
            repeated = caption[:length].expand(images.shape[0], length, -1)
            if self.config.has_text_branch:
                by_branch.setdefault("text", []).append(self._branch("t2i", repeated, images))
            if self.config.has_image_branch:
                by_branch.setdefault("image", []).append(self._branch("i2t", images, repeated))
        return {name: torch.stack(columns, dim=-1) for name, columns in by_branch.items()}

    def _branch(self, name: str, query: Tensor, context: Tensor) -> Tensor:
        """Step scores ``[T, N]`` of ``query [N, Lq, D]`` over ``context [N, Lc, D]``."""
        original, scores = query, []
        for _ in range(self.config.steps):
            attended = self._attend(query, context)
            scores.append(functional.cosine_similarity(original, attended, -1, NORM_EPS).mean(1))
            query = self._distil(name, query, attended)
        return torch.stack(scores)

    def _attend(self, query: Tensor, context: Tensor) -> Tensor:
        affinity = context @ query.transpose(1, 2)
        affinity = first_norm(self.config.attention_norm, affinity, 2, l2_norm_published)
        weights = torch.softmax(self.config.temperature * affinity, dim=1)
        return weights.transpose(1, 2) @ context

    def _distil(self, name: str, query: Tensor, attended: Tensor) -> Tensor:
        """Memory distillation, equations 8 to 10 of the paper."""
        both = torch.cat([query, attended], dim=-1)
        gate = torch.sigmoid(getattr(self, f"gate_{name}")(both))
        new = torch.tanh(getattr(self, f"linear_{name}")(both))
        updated = gate * query + (1 - gate) * new
        return l2_norm_published(updated, -1) if self.config.memory_norm else updated
