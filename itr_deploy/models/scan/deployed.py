"""The exported form of SCAN: equal scores with half of the arithmetic per pair.

The attended vector ``a = sum_i P_i c_i`` of a query ``q`` is needed only for its dot product with
``q`` and for its length. Both follow from the affinities and the context's Gram matrix
``G = c c^T``::

    q . a = sum_i P_i (q . c_i)          |a|^2 = sum_ik P_i G_ik P_k

so that the one large product that is left for a pair is that of the affinities.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import NamedTuple

import torch
from torch import Tensor

from itr_deploy.models.attending import Told, of_regions, of_words, stacked
from itr_deploy.models.contract import AttentionStep, DeployedMatcher, StoredTensor, Workspace
from itr_deploy.models.layers import (
    NORM_EPS,
    bigru_two_pass,
    gru_one_pass,
    l2_norm,
    position_mask,
)
from itr_deploy.models.precision import full_precision
from itr_deploy.models.scan.pairs import aggregate, attention
from itr_deploy.models.scan.plain import Scan

GRAM_COLUMNS = {"t2i": 36, "i2t": 32}
"""Columns of the Gram matrix that are stored, by direction: as many as the published features have
regions, and more than most captions have words. Those of further positions are computed in a call.
"""


class ScanDeployment(DeployedMatcher):
    """The exported form of a `Scan`: equal scores, half of the arithmetic per pair.

    The side that is attended to stores its Gram matrix. Computing it instead takes 2.7 million
    operations for 36 regions, where a pair takes 1.0 million, and a search has one text for many
    images.
    """

    def __init__(self, model: Scan) -> None:
        super().__init__()
        self.model = model
        self.by_words = model.config.direction == "t2i"
        config, width = model.config, model.config.embed_dim
        self.embedding_dim = width
        gram = StoredTensor(name="gram", width=GRAM_COLUMNS[config.direction])
        regions = StoredTensor(name="regions", width=width, unit=config.image_norm or None)
        words = StoredTensor(name="words", width=width)
        self.image_tensors = (regions, gram) if self.by_words else (regions,)
        self.text_tensors = (words,) if self.by_words else (words, gram)
        self.attention_steps = (
            AttentionStep(step=1, attends="text" if self.by_words else "image"),
        )
        self.workspace = Workspace(per_word_region=6)

    def encode_images(self, regions: Tensor) -> tuple[Tensor, ...]:
        """``float32 [B, R, Di]`` -> the `image_tensors`, then the pooled embedding."""
        # The attention amplifies what is off here, and an item is encoded only once.
        with full_precision():
            embedded: Tensor = self.model.image.fc(regions)
        if self.model.config.image_norm:
            embedded = l2_norm(embedded, -1)
        pooled = l2_norm(embedded.mean(dim=1), -1)
        return (
            (embedded, self._gram_columns(embedded), pooled)
            if self.by_words
            else (embedded, pooled)
        )

    def encode_texts(self, token_ids: Tensor, lengths: Tensor) -> tuple[Tensor, ...]:
        """``int64 [B, L], int64 [B]`` -> the `text_tensors`, then the pooled embedding."""
        config, encoder = self.model.config, self.model.text
        run = bigru_two_pass if config.bidirectional else gru_one_pass
        with full_precision():  # as for images
            words = run(encoder.rnn, encoder.embed(token_ids), lengths)
        if config.text_norm:
            words = l2_norm(words, -1)
        pooled = l2_norm(words.sum(dim=1) / lengths.unsqueeze(1).to(words.dtype), -1)
        return (words, pooled) if self.by_words else (words, self._gram_columns(words), pooled)

    def _gram_columns(self, context: Tensor) -> Tensor:
        """The first columns of ``c c^T``, ``[B, P, D] -> [B, P, columns]``, filled up with 0."""
        count = GRAM_COLUMNS[self.model.config.direction]
        with full_precision():
            columns = context @ context[:, :count].transpose(1, 2)
        filling = columns.new_zeros(columns.shape[0], columns.shape[1], count)
        return torch.cat([columns, filling], dim=2)[:, :, :count]

    def match(self, texts: Sequence[Tensor], lengths: Tensor, images: Sequence[Tensor]) -> Tensor:
        """Score every text with every image of its group; shapes as in `DeployedMatcher.match`."""
        return self._matched(texts, lengths, images).scores

    def match_and_attend(
        self, texts: Sequence[Tensor], lengths: Tensor, images: Sequence[Tensor]
    ) -> tuple[tuple[Tensor, ...], Told]:
        """The scores, and the attention that they are made of, in the direction of the model."""
        found = self._matched(texts, lengths, images)
        told = of_words if self.by_words else of_regions
        return (found.scores,), stacked([told(found.weights, found.cosines)])

    def _matched(
        self, texts: Sequence[Tensor], lengths: Tensor, images: Sequence[Tensor]
    ) -> _Matched:
        """Scores, and what they are made of, in arrays laid out as in `pairs`."""
        config = self.model.config
        words, regions = texts[0], images[0]
        # With a norm switched off nothing bounds the affinities.
        bounded = config.image_norm and config.text_norm
        with nullcontext() if bounded else full_precision():
            raw = _affinities(words, regions)
        real = position_mask(lengths, words.shape[2])
        if self.by_words:
            raw = raw.permute(0, 1, 3, 4, 2)
            weights = attention(config, raw, query_mask=real)
            cosines = self._cosines(raw, weights, words, images)
            scores = aggregate(config, cosines, real.unsqueeze(1)).transpose(1, 2)
            return _Matched(scores, weights, cosines)
        raw = raw.permute(0, 3, 1, 2, 4)
        weights = attention(config, raw, context_mask=real)
        cosines = self._cosines(raw, weights, regions, texts)
        return _Matched(aggregate(config, cosines), weights, cosines)

    def _cosines(
        self, raw: Tensor, weights: Tensor, query: Tensor, context: Sequence[Tensor]
    ) -> Tensor:
        """Cosines ``[B, Y, X, Lq]`` of queries with what they attend to.

        Args:
            raw: Affinities ``[B, Y, X, Lq, Lc]``.
            weights: Attention of the same shape.
            query: ``[B, X, Lq, D]``.
            context: ``[B, Y, Lc, D]``, and the stored columns of its Gram matrix.
        """
        dot = (weights * raw).sum(dim=-1)
        groups, contexts, items, q_len, c_len = weights.shape
        flat = weights.reshape(groups, contexts, items * q_len, c_len)
        with full_precision():  # vectors that cancel each other out leave a small difference
            squared = ((flat @ _gram(*context)) * flat).sum(dim=-1)
        norms = squared.clamp(min=0).sqrt().reshape(groups, contexts, items, q_len)
        config = self.model.config
        if not (config.text_norm if self.by_words else config.image_norm):
            norms = norms * (query * query).sum(dim=-1).sqrt().unsqueeze(1)
        return dot / norms.clamp(min=NORM_EPS)


class _Matched(NamedTuple):
    """All pairs: scores ``[B, T, I]``, attention ``[B, Y, X, Lq, Lc]``, cosines ``[B, Y, X, Lq]``.

    A cosine is that of a query with what it attends to.
    """

    scores: Tensor
    weights: Tensor
    cosines: Tensor


def _affinities(words: Tensor, regions: Tensor) -> Tensor:
    """Dot products ``[B, I, R, T, L]`` of all words and regions of a group.

    The regions are on the left because a CPU copies what is on the right into blocks first, and a
    search has one text for many images.
    """
    groups, texts, length, width = words.shape
    images, count = regions.shape[1], regions.shape[2]
    flat = words.reshape(groups, texts * length, width)
    raw = regions.reshape(groups, images * count, width) @ flat.transpose(1, 2)
    return raw.reshape(groups, images, count, texts, length)


def _gram(context: Tensor, stored: Tensor) -> Tensor:
    """Gram matrices ``[B, Y, P, P]`` of ``[B, Y, P, D]``, given their first columns."""
    further = context[:, :, stored.shape[3] :]  # most often none
    computed = context @ further.transpose(2, 3)
    return torch.cat([stored[:, :, :, : context.shape[2]], computed], dim=3)
