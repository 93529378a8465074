"""CAMERA's encoders with everything multiplied out that is constant after training."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from itr_deploy.models.bert import last_layer
from itr_deploy.models.camera.boxes import box_features
from itr_deploy.models.camera.config import CameraConfig
from itr_deploy.models.camera.plain import Agsa, GatedAttention, ImageEncoder, TextEncoder
from itr_deploy.models.folding import linear_map, weight_type
from itr_deploy.models.layers import l2_norm, norm_over_regions


def fold_attention(agsa: Agsa, config: CameraConfig) -> GatedAttention:
    """An `Agsa` as an attention alone: the values' Linear holds the batch normalisation.

    A softmax's weights sum to 1, so that a shift of all values is one of every weighted sum.
    """
    attention = agsa.att_layers[0]
    assert isinstance(attention, GatedAttention)
    with torch.device("meta"):
        folded = GatedAttention(config)
    queries, keys, values = attention.linears
    value = linear_map(values).normed(agsa.bns[0]).layer(weight_type(values))
    folded.linears = nn.ModuleList([queries, keys, value])
    folded.fc_q, folded.fc_k, folded.fc_g = attention.fc_q, attention.fc_k, attention.fc_g
    return folded


class FoldedImageEncoder(nn.Module):
    """An `ImageEncoder` in a form that exports; it checks nothing."""

    def __init__(self, encoder: ImageEncoder, config: CameraConfig) -> None:
        super().__init__()
        self.fc, self.position = encoder.fc, encoder.position_enc
        self.attention = fold_attention(encoder.agsa, config)
        self.summary = encoder.mvs

    def forward(self, features: Tensor, boxes: Tensor, sizes: Tensor) -> Tensor:
        """``[N, R, Di], [N, R, 4], [N, 2]`` -> views ``[N, k, D]``."""
        embedded = norm_over_regions(self.fc(features))
        position = self.position(box_features(boxes, sizes))
        regions = norm_over_regions(embedded + self.attention(embedded * position))
        return l2_norm(self.summary(regions).transpose(1, 2) @ regions, 2)


class FoldedTextEncoder(nn.Module):
    """A `TextEncoder` in a form that exports.

    Its last Linear and batch normalisation commute with the mean over the positions: they are one
    Linear of one vector.
    """

    def __init__(self, encoder: TextEncoder, config: CameraConfig) -> None:
        super().__init__()
        self.bert, self.mapping, self.first = encoder.bert, encoder.mapping, encoder.fc1
        self.attention = fold_attention(encoder.agsa, config)
        last = encoder.fc2
        self.last = linear_map(last).normed(encoder.bn).layer(weight_type(last))

    def forward(self, token_ids: Tensor, lengths: Tensor) -> Tensor:
        """``int64 [C, W], int64 [C] -> float32 [C, D]``."""
        words = self.mapping(last_layer(self.bert, token_ids, lengths))
        words = words + self.attention(words)
        hidden = torch.relu(self.first(words)).mean(dim=1)
        return l2_norm(words.mean(dim=1) + self.last(hidden), 1)
