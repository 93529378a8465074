"""The exported form of LHSC: equal scores with the least arithmetic per pair.

Both stacks and both global vectors are computed in the encoders, with every batch normalisation
multiplied out. What remains per pair is `SimilarityMatcher`'s.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from itr_deploy.models.layers import bigru_two_pass, l2_norm, position_mask
from itr_deploy.models.lhsc.config import REGIONS
from itr_deploy.models.lhsc.folding import FoldedConvolution
from itr_deploy.models.lhsc.plain import Lhsc, SelfAttention
from itr_deploy.models.precision import full_precision
from itr_deploy.models.similarity.deployed import SimilarityMatcher
from itr_deploy.models.similarity.folding import FoldedGatedSum


class LhscDeployment(SimilarityMatcher):
    """The exported form of an `Lhsc`: equal scores, the least arithmetic per pair."""

    regions = REGIONS

    def __init__(self, model: Lhsc) -> None:
        config, similarity = model.config, model.similarity
        summary = FoldedGatedSum(similarity.cal_sim_base_atten)
        super().__init__(similarity, summary, unit_regions=config.image_norm)
        self.model = model
        self.convolutions = nn.ModuleList(FoldedConvolution(layer) for layer in model.image.layers)
        self.padded_together = config.padded_together

    def encode_images(self, regions: Tensor) -> tuple[Tensor, ...]:
        """``float32 [B, 36, Di]`` -> the `image_tensors`, then the image vector again."""
        embedded = self.model.image.fc(regions)
        for layer in self.convolutions:
            embedded = layer(embedded)
        if self.model.config.image_norm:
            embedded = l2_norm(embedded, -1)
        vector = self.image_vector(embedded)
        return embedded, vector, vector

    def encode_texts(self, token_ids: Tensor, lengths: Tensor) -> tuple[Tensor, ...]:
        """``int64 [B, L], int64 [B]`` -> the `text_tensors`, then the caption vector again."""
        encoder = self.model.text
        mask = position_mask(lengths, token_ids.shape[1])
        takes_part = torch.ones_like(mask) if self.padded_together else mask
        words = encoder.embed(token_ids)
        real = takes_part.to(words.dtype).unsqueeze(2)
        share = real / real.sum(dim=1, keepdim=True)
        for layer in encoder.layers:
            words = _self_attention(layer, words, share)
        words = bigru_two_pass(encoder.cap_rnn, words, lengths)
        if self.model.config.text_norm:
            words = l2_norm(words, -1)
        vector = self.text_vector(words, mask)
        return words, vector, vector


@full_precision()  # its weights go through no softmax, so they are unbounded
def _self_attention(layer: SelfAttention, words: Tensor, share: Tensor) -> Tensor:
    """A `SelfAttention` in which every word is read with its ``share [B, L, 1]``."""
    queries, keys = layer.embedding_local(words), layer.embedding_global(words)
    update: Tensor = queries @ keys.transpose(1, 2) @ (layer.embedding_v(words) * share)
    return update + words
