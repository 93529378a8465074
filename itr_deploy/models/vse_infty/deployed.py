"""The exported form of VSE-infinity: a dual encoder with pooling from tables."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from itr_deploy.models.bert import last_layer
from itr_deploy.models.contract import DualEncoder
from itr_deploy.models.layers import bigru_two_pass, l2_norm
from itr_deploy.models.precision import full_precision
from itr_deploy.models.vse_infty.backbone import cells
from itr_deploy.models.vse_infty.folding import (
    FixedPooling,
    FoldedRegions,
    TabulatedPooling,
    fold_network,
)
from itr_deploy.models.vse_infty.plain import (
    BertEncoder,
    GridEncoder,
    RegionEncoder,
    VseInfty,
    WordEncoder,
)
from itr_deploy.models.vse_infty.preprocessing import Preprocessing

MOST_REGIONS = 512
"""Regions of an image; detectors give 10 to 100. The table has a row for each number."""

MOST_WORDS = 256
"""Tokens of a text without BERT."""


class VseInftyDeployment(DualEncoder):
    """A `VseInfty` on regions, of which every image of a call has as many, or on pictures."""

    def __init__(self, model: VseInfty) -> None:
        super().__init__()
        self.config = model.config
        self.embedding_dim = model.config.embed_dim
        self.max_tokens = model.config.longest_text or MOST_WORDS
        self.image: RegionVectors | PictureVectors
        if isinstance(model.image, GridEncoder):
            self.takes_pictures = True
            self.image = PictureVectors(model.image)
        else:
            assert isinstance(model.image, RegionEncoder)
            self.max_regions = MOST_REGIONS
            self.image = RegionVectors(model.image)
        text = model.text
        assert isinstance(text, (BertEncoder, WordEncoder))
        self.text = text
        self.text_pooling = TabulatedPooling(text.gpool, self.max_tokens)

    def encode_images(self, regions: Tensor) -> tuple[Tensor, ...]:
        """``float32 [B, R, Di] -> [B, D]``."""
        return (self._normed(self.image(regions), self.config.image_norm),)

    def encode_pictures(self, pictures: Tensor) -> tuple[Tensor, ...]:
        """``uint8 [B, H, W, 3] -> float32 [B, D]``."""
        return (self._normed(self.image(pictures), self.config.image_norm),)

    def encode_texts(self, token_ids: Tensor, lengths: Tensor) -> tuple[Tensor, ...]:
        """``int64 [B, L], int64 [B] -> float32 [B, D]``."""
        if isinstance(self.text, BertEncoder):
            local = self.text.linear(last_layer(self.text.bert, token_ids, lengths))
        else:
            with full_precision():  # as for regions
                local = bigru_two_pass(self.text.rnn, self.text.embed(token_ids), lengths)
        vectors = self.text_pooling(local, lengths)
        return (self._normed(vectors, self.config.text_norm),)

    @staticmethod
    def _normed(vectors: Tensor, norm: bool) -> Tensor:
        return l2_norm(vectors, 1) if norm else vectors


class RegionVectors(nn.Module):
    """``regions [B, R, Di] -> [B, D]``, before the norm."""

    def __init__(self, encoder: RegionEncoder) -> None:
        super().__init__()
        self.local = FoldedRegions(encoder)
        self.pooling = TabulatedPooling(encoder.pooling, MOST_REGIONS)

    def forward(self, regions: Tensor) -> Tensor:
        """Local features of all regions, pooled."""
        counts = torch.full((regions.shape[0],), regions.shape[1], dtype=torch.int64)
        vectors: Tensor = self.pooling(self.local(regions), counts)
        return vectors


class PictureVectors(nn.Module):
    """``pictures uint8 [B, H, W, 3] -> [B, D]``, before the norm."""

    def __init__(self, encoder: GridEncoder) -> None:
        super().__init__()
        self.preprocessing = Preprocessing(encoder.backbone.config)
        self.network = fold_network(encoder.backbone)
        self.fc = encoder.image_encoder.fc
        self.pooling = FixedPooling(encoder.pooling, cells(encoder.backbone.config))

    def forward(self, pictures: Tensor) -> Tensor:
        """Local features of all cells of the network's last map, pooled."""
        features = self.network(self.preprocessing(pictures)).flatten(2).transpose(1, 2)
        vectors: Tensor = self.pooling(self.fc(features))
        return vectors
