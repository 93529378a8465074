"""The exported form of LHSC: equal scores with the least arithmetic per pair.

Both stacks and both global vectors are computed in the encoders, with every batch normalisation
multiplied out. What remains per pair is the attention, the two Linears over squared differences,
and their gated sum.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from itr_deploy.models.contract import DeployedMatcher, StoredTensor, Workspace
from itr_deploy.models.layers import bigru_two_pass, l2_norm, position_mask
from itr_deploy.models.lhsc.config import REGIONS, TEMPERATURE
from itr_deploy.models.lhsc.folding import FoldedConvolution, FoldedGate, FoldedGlobalAttention
from itr_deploy.models.lhsc.plain import Lhsc, SelfAttention
from itr_deploy.models.precision import full_precision
from itr_deploy.models.quantised import unquantised


class LhscDeployment(DeployedMatcher):
    """The exported form of an `Lhsc`: equal scores, the least arithmetic per pair."""

    regions = REGIONS

    def __init__(self, model: Lhsc) -> None:
        super().__init__()
        self.model = model
        self.convolutions = nn.ModuleList(FoldedConvolution(layer) for layer in model.image.layers)
        self.image_vector = FoldedGlobalAttention(model.similarity.v_global_w)
        self.text_vector = FoldedGlobalAttention(model.similarity.t_global_w)
        self.gate = FoldedGate(model.similarity.cal_sim_base_atten)
        self.padded_together = model.config.padded_together
        width = model.config.embed_dim
        self.embedding_dim = width
        self.image_tensors = (
            StoredTensor(name="regions", width=width, unit=model.config.image_norm or None),
            StoredTensor(name="vector", width=width, per_position=False),
        )
        self.text_tensors = (
            StoredTensor(name="words", width=width),
            StoredTensor(name="vector", width=width, per_position=False),
        )
        self.workspace = Workspace(per_word=4 * width + 2 * model.config.sim_dim, per_word_region=4)

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

    def match(self, texts: Sequence[Tensor], lengths: Tensor, images: Sequence[Tensor]) -> Tensor:
        """Score every text with every image of its group; shapes as in `DeployedMatcher.match`.

        Arrays of pairs are laid out ``[B, I, T * L, ...]``, the image outermost, so that every
        product with an image is one matrix product for all words of all texts.
        """
        (words, captions), (regions, vectors) = texts, images
        groups, items, length, width = words.shape
        similarity = self.model.similarity
        mask = position_mask(lengths, length).unsqueeze(1)
        attended = l2_norm(_attention(words, mask, regions) @ regions, -1)
        apart = attended - words.reshape(groups, 1, items * length, width)
        local = similarity.sim_tranloc_w(apart * apart)
        local = local.reshape(groups, regions.shape[1], items, length, -1)
        apart = vectors.unsqueeze(2) - captions.unsqueeze(1)
        with unquantised():  # one vector per pair: cheap, and it decides much of the score
            overall = similarity.sim_tranglo_w(apart * apart).unsqueeze(3)
        gates = (self.gate(local) * mask.to(local.dtype)).unsqueeze(3)
        mixed = gates @ local + self.gate(overall).unsqueeze(3) * overall
        scores: Tensor = torch.sigmoid(similarity.sim_eval_w(l2_norm(mixed, -1)))
        return scores.squeeze(4).squeeze(3).transpose(1, 2)


@full_precision()  # its weights go through no softmax, so they are unbounded
def _self_attention(layer: SelfAttention, words: Tensor, share: Tensor) -> Tensor:
    """A `SelfAttention` in which every word is read with its ``share [B, L, 1]``."""
    queries, keys = layer.embedding_local(words), layer.embedding_global(words)
    update: Tensor = queries @ keys.transpose(1, 2) @ (layer.embedding_v(words) * share)
    return update + words


def _attention(words: Tensor, mask: Tensor, regions: Tensor) -> Tensor:
    """Weights ``[B, I, T * L, R]`` of words ``[B, T, L, D]`` over regions ``[B, I, R, D]``."""
    groups, items, length, width = words.shape
    images, count = regions.shape[1], regions.shape[2]
    flat = words.reshape(groups, items * length, width)
    raw = flat @ regions.reshape(groups, images * count, width).transpose(1, 2)
    by_image = raw.reshape(groups, items, length, images, count).permute(0, 3, 1, 2, 4)
    affinity = functional.leaky_relu(by_image, 0.1)
    # A zero does not change an L2 norm over the words.
    affinity = torch.where(mask.unsqueeze(4), affinity, 0.0)
    weights = torch.softmax(l2_norm(affinity, 3) * TEMPERATURE, dim=4)
    return weights.reshape(groups, images, items * length, count)
