"""The exported form of SGRAF: equal scores with the least arithmetic per pair.

The encoders compute both global vectors, with every batch normalisation multiplied out. What
remains per pair is `SimilarityMatcher`'s, with SAF's gates or SGR's steps.
"""

from __future__ import annotations

from torch import Tensor, nn

from itr_deploy.models.layers import bigru_two_pass, gru_one_pass, l2_norm, position_mask
from itr_deploy.models.sgraf.plain import Sgraf, SgrafSimilarity
from itr_deploy.models.sgraf.reasoning import FoldedReasoning
from itr_deploy.models.similarity.deployed import SimilarityMatcher
from itr_deploy.models.similarity.folding import FoldedGatedSum


class SgrafDeployment(SimilarityMatcher):
    """The exported form of an `Sgraf`: equal scores, the least arithmetic per pair."""

    def __init__(self, model: Sgraf) -> None:
        config, similarity = model.config, model.similarity
        super().__init__(similarity, _summary(similarity), unit_regions=config.image_norm)
        self.model = model
        self.regions = config.regions

    def encode_images(self, regions: Tensor) -> tuple[Tensor, ...]:
        """``float32 [B, R, Di]`` -> the `image_tensors`, then the image vector again."""
        embedded = self.model.image.fc(regions)
        if self.model.config.image_norm:
            embedded = l2_norm(embedded, -1)
        vector = self.image_vector(embedded)
        return embedded, vector, vector

    def encode_texts(self, token_ids: Tensor, lengths: Tensor) -> tuple[Tensor, ...]:
        """``int64 [B, L], int64 [B]`` -> the `text_tensors`, then the caption vector again."""
        encoder = self.model.text
        run = bigru_two_pass if self.model.config.bidirectional else gru_one_pass
        words = run(encoder.cap_rnn, encoder.embed(token_ids), lengths)
        if self.model.config.text_norm:
            words = l2_norm(words, -1)
        vector = self.text_vector(words, position_mask(lengths, token_ids.shape[1]))
        return words, vector, vector


def _summary(similarity: SgrafSimilarity) -> nn.Module:
    if similarity.config.module == "SAF":
        return FoldedGatedSum(similarity.SAF_module)
    return FoldedReasoning(similarity.steps)
