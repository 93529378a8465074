"""The exported form of a score by similarity vectors: what depends on one item is computed once.

Both global vectors are computed in the encoders. What remains per pair is the attention, the two
Linears over squared differences, and what the family makes of their results.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from itr_deploy.models.attending import Told, of_words, stacked
from itr_deploy.models.contract import AttentionStep, DeployedMatcher, StoredTensor, Workspace
from itr_deploy.models.layers import l2_norm, position_mask
from itr_deploy.models.precision import full_precision
from itr_deploy.models.quantised import unquantised
from itr_deploy.models.similarity.folding import FoldedGlobalAttention
from itr_deploy.models.similarity.plain import TEMPERATURE, Similarity

CPU_PAIRS = 32
"""Measured at published sizes: more do not fit a core's cache, fewer fill its products less."""


class SimilarityMatcher(DeployedMatcher):
    """Scores pairs as a `Similarity` does; a family adds its encoders.

    The score has no part that is a word's. That a word is matched by the cosine with what it
    attends to is ours: its vector is made of the squares of their differences.
    """

    attention_steps = (AttentionStep(step=1, attends="text"),)

    def __init__(self, similarity: Similarity, summary: nn.Module, *, unit_regions: bool) -> None:
        """Prepare the layers.

        Args:
            similarity: The published layers.
            summary: The exported form of its ``summary``: called with ``local [..., L, S]`` and
                ``overall [..., 1, S]``, vectors before their L2 norm, and the words' ``mask
                [..., L]``; returns ``[..., S]``.
            unit_regions: Whether a region's embedding has length 1.
        """
        super().__init__()
        self.similarity = similarity
        self.summary = summary
        self.image_vector = FoldedGlobalAttention(similarity.v_global_w)
        self.text_vector = FoldedGlobalAttention(similarity.t_global_w)
        width = similarity.sim_tranloc_w.in_features
        self.embedding_dim = width
        self.image_tensors = (
            StoredTensor(name="regions", width=width, unit=unit_regions or None),
            StoredTensor(name="vector", width=width, per_position=False, unit=True),
        )
        self.text_tensors = (
            StoredTensor(name="words", width=width),
            StoredTensor(name="vector", width=width, per_position=False),
        )
        sim_dim = similarity.sim_tranloc_w.out_features
        self.workspace = Workspace(
            per_word=4 * width + 2 * sim_dim, per_word_region=4, cpu_pairs=CPU_PAIRS
        )

    def match(self, texts: Sequence[Tensor], lengths: Tensor, images: Sequence[Tensor]) -> Tensor:
        """Score every text with every image of its group; shapes as in `DeployedMatcher.match`."""
        return self._matched(texts, lengths, images)[0]

    def match_and_attend(
        self, texts: Sequence[Tensor], lengths: Tensor, images: Sequence[Tensor]
    ) -> tuple[tuple[Tensor, ...], Told]:
        """The scores, and what words attend to."""
        scores, weights, attended = self._matched(texts, lengths, images)
        return (scores,), _told(texts[0], weights, attended)

    def _matched(
        self, texts: Sequence[Tensor], lengths: Tensor, images: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Scores ``[B, T, I]``, weights ``[B, I, T * L, R]``, what words attend to ``[.., D]``.

        Arrays of pairs are laid out ``[B, I, T * L, ...]``, the image outermost, so that every
        product with an image is one matrix product for all words of all texts.
        """
        (words, captions), (regions, vectors) = texts, images
        groups, items, length, width = words.shape
        mask = position_mask(lengths, length).unsqueeze(1)
        weights = _attention(words, mask, regions)
        attended = l2_norm(weights @ regions, -1)
        apart = attended - words.reshape(groups, 1, items * length, width)
        local = self.similarity.sim_tranloc_w(apart * apart)
        local = local.reshape(groups, regions.shape[1], items, length, -1)
        apart = vectors.unsqueeze(2) - captions.unsqueeze(1)
        with unquantised():  # one vector per pair: cheap, and it decides much of the score
            overall = self.similarity.sim_tranglo_w(apart * apart).unsqueeze(3)
        summary = self.summary(local, overall, mask)
        with full_precision():  # one number per pair, whose rounding makes ties
            scores: Tensor = torch.sigmoid(self.similarity.sim_eval_w(summary))
        return scores.squeeze(3).transpose(1, 2), weights, attended


def _told(words: Tensor, weights: Tensor, attended: Tensor) -> Told:
    """What words ``[B, T, L, D]`` attend to, as `DeployedMatcher.match_and_attend` says."""
    groups, items, length, width = words.shape
    shape = (groups, weights.shape[1], items, length)
    unit = l2_norm(words, -1).reshape(groups, 1, items * length, width)
    cosines = (attended * unit).sum(dim=-1).reshape(shape)
    return stacked([of_words(weights.reshape(*shape, -1), cosines)])


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
