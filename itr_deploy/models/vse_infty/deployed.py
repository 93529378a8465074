"""The exported form of VSE-infinity on region features: a dual encoder with pooling from tables."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from itr_deploy.models.bert import last_layer
from itr_deploy.models.contract import DualEncoder
from itr_deploy.models.layers import bigru_two_pass, l2_norm
from itr_deploy.models.precision import full_precision
from itr_deploy.models.vse_infty.folding import FoldedRegions, TabulatedPooling
from itr_deploy.models.vse_infty.plain import BertEncoder, RegionEncoder, VseInfty, WordEncoder

MOST_REGIONS = 512
"""Regions of an image; detectors give 10 to 100. The table has a row for each number."""

MOST_WORDS = 256
"""Tokens of a text without BERT."""


class VseInftyDeployment(DualEncoder):
    """A `VseInfty` on regions. Every image of a call has as many regions as there are rows."""

    max_regions = MOST_REGIONS

    def __init__(self, model: VseInfty) -> None:
        super().__init__()
        self.config = model.config
        self.embedding_dim = model.config.embed_dim
        self.max_tokens = model.config.longest_text or MOST_WORDS
        encoder = model.image
        assert isinstance(encoder, RegionEncoder)
        self.regions_encoder = FoldedRegions(encoder)
        self.image_pooling = TabulatedPooling(encoder.pooling, MOST_REGIONS)
        text = model.text
        assert isinstance(text, (BertEncoder, WordEncoder))
        self.text = text
        self.text_pooling = TabulatedPooling(text.gpool, self.max_tokens)

    def encode_images(self, regions: Tensor) -> tuple[Tensor, ...]:
        """``float32 [B, R, Di] -> [B, D]``."""
        counts = torch.full((regions.shape[0],), regions.shape[1], dtype=torch.int64)
        local = self.regions_encoder(regions)
        vectors = self._pooled(self.image_pooling, local, counts, self.config.image_norm)
        return (vectors,)

    def encode_texts(self, token_ids: Tensor, lengths: Tensor) -> tuple[Tensor, ...]:
        """``int64 [B, L], int64 [B] -> float32 [B, D]``."""
        if isinstance(self.text, BertEncoder):
            local = self.text.linear(last_layer(self.text.bert, token_ids, lengths))
        else:
            local = bigru_two_pass(self.text.rnn, self.text.embed(token_ids), lengths)
        return (self._pooled(self.text_pooling, local, lengths, self.config.text_norm),)

    @staticmethod
    @full_precision()  # the weights of the places are as exact as they were tabulated
    def _pooled(pooling: nn.Module, local: Tensor, counts: Tensor, norm: bool) -> Tensor:
        vectors: Tensor = pooling(local, counts)
        return l2_norm(vectors, 1) if norm else vectors
