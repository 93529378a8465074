"""CAMERA as published: several views of an image, one vector of a caption.

The state dict's keys are the published ones below ``image.`` and ``text.``, the two state dicts of
a checkpoint, less what no score depends on.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from itr_deploy.errors import InputError
from itr_deploy.models.bert import build_bert, last_layer
from itr_deploy.models.camera.boxes import box_features, check_boxes
from itr_deploy.models.camera.config import CHANNELS, CONVOLUTIONS, POSITION, CameraConfig
from itr_deploy.models.layers import check_features, norm_over_regions


class GatedAttention(nn.Module):
    """Self-attention whose queries and keys are gated, ``[N, P, D] -> [N, P, D]``; no mask.

    All heads share the gates' three Linears. Nothing projects the heads' results.
    """

    def __init__(self, config: CameraConfig) -> None:
        super().__init__()
        width, self.heads = config.embed_dim, config.heads
        part = width // self.heads
        self.linears = nn.ModuleList(nn.Linear(width, width) for _ in range(3))
        self.fc_q = nn.Linear(part, part)
        self.fc_k = nn.Linear(part, part)
        self.fc_g = nn.Linear(part, 2 * part)

    def forward(self, x: Tensor) -> Tensor:
        """Every position attends to all."""
        items, positions, width = x.shape
        queries, keys, values = (
            linear(x).reshape(items, positions, self.heads, -1).transpose(1, 2)
            for linear in self.linears
        )
        gates = torch.sigmoid(self.fc_g(self.fc_q(queries) * self.fc_k(keys)))
        part = queries.shape[3]
        logits = (queries * gates[..., :part]) @ (keys * gates[..., part:]).transpose(2, 3)
        weights = torch.softmax(logits / part**0.5, dim=3)
        joined: Tensor = (weights @ values).transpose(1, 2).reshape(items, positions, width)
        return joined


class Agsa(nn.Module):
    """A gated self-attention and its batch normalisation, ``[N, P, D] -> [N, P, D]``."""

    def __init__(self, config: CameraConfig) -> None:
        super().__init__()
        self.bns = nn.ModuleList([nn.BatchNorm1d(config.embed_dim)])
        self.att_layers = nn.ModuleList([GatedAttention(config)])

    def forward(self, x: Tensor) -> Tensor:
        """What is added to the caller's input."""
        return batch_norm(self.bns[0], self.att_layers[0](x))


class PositionEncoder(nn.Module):
    """``float32 [N, R, 6] -> [N, R, D]``."""

    def __init__(self, config: CameraConfig) -> None:
        super().__init__()
        self.proj = nn.Linear(POSITION, config.embed_dim)

    def forward(self, places: Tensor) -> Tensor:
        """A factor of every feature of a region."""
        return torch.sigmoid(self.proj(places))


class Summary(nn.Module):
    """How much every region adds to every view, ``[N, R, D] -> [N, R, k]``."""

    def __init__(self, config: CameraConfig) -> None:
        super().__init__()
        width = config.embed_dim
        self.convs_dilate = nn.ModuleList(
            nn.Conv1d(width, channels, size, padding=dilation * (size // 2), dilation=dilation)
            for channels, size, dilation in CONVOLUTIONS
        )
        self.convs_fc = nn.Linear(CHANNELS, config.views)

    def forward(self, regions: Tensor) -> Tensor:
        """Convolutions along the regions, in their order, and a softmax over them."""
        signal = regions.transpose(1, 2)
        maps = torch.cat([torch.relu(conv(signal)) for conv in self.convs_dilate], dim=1)
        return torch.softmax(self.convs_fc(maps.transpose(1, 2)), dim=1)


class ImageEncoder(nn.Module):
    """Regions, their boxes and the picture's size -> views ``[N, k, D]`` of length 1.

    All images of a call have the same number of regions; regions cannot be padded.
    """

    def __init__(self, config: CameraConfig) -> None:
        super().__init__()
        self.fc = nn.Linear(config.image_dim, config.embed_dim)
        self.position_enc = PositionEncoder(config)
        self.agsa = Agsa(config)
        self.mvs = Summary(config)

    def position(self, boxes: Tensor, sizes: Tensor) -> Tensor:
        """``float32 [N, R, 4], [N, 2] -> [N, R, D]``, each in 0 to 1.

        Raises:
            InputError: A box has no height, or is not finite, or a picture has no size.
        """
        check_boxes(boxes, sizes)
        encoded: Tensor = self.position_enc(box_features(boxes, sizes))
        return encoded

    def regions(self, features: Tensor, position: Tensor) -> Tensor:
        """``[N, R, Di], [N, R, D] -> [N, R, D]``, every feature of length 1 over the regions.

        Raises:
            InputError: A feature is 0 in every region of an image.
        """
        embedded = _normed(self.fc(features))
        return _normed(embedded + self.agsa(embedded * position))

    def forward(self, features: Tensor, boxes: Tensor, sizes: Tensor) -> Tensor:
        """The views of every image."""
        regions = self.regions(features, self.position(boxes, sizes))
        return functional.normalize(self.mvs(regions).transpose(1, 2) @ regions, dim=2)


class TextEncoder(nn.Module):
    """``token_ids [C, W] -> [C, D]``; padding takes part in everything but BERT's attention."""

    def __init__(self, config: CameraConfig) -> None:
        super().__init__()
        width = config.embed_dim
        self.bert = build_bert(config.bert)
        self.mapping = nn.Linear(config.bert.hidden_size, width)
        self.agsa = Agsa(config)
        self.fc1 = nn.Linear(width, width)
        self.fc2 = nn.Linear(width, width)
        self.bn = nn.BatchNorm1d(width)

    def forward(self, token_ids: Tensor, lengths: Tensor) -> Tensor:
        """Sentence vectors of length 1."""
        words = self.mapping(last_layer(self.bert, token_ids, lengths))
        words = words + self.agsa(words)
        words = words + batch_norm(self.bn, self.fc2(torch.relu(self.fc1(words))))
        return functional.normalize(words.mean(dim=1), dim=1)


class Camera(nn.Module):
    """CAMERA as published."""

    def __init__(self, config: CameraConfig) -> None:
        super().__init__()
        self.config = config
        self.image = ImageEncoder(config)
        self.text = TextEncoder(config)

    def encode_images(self, regions: Tensor, boxes: Tensor, sizes: Tensor) -> Tensor:
        """Views ``float32 [N, k, D]`` of length 1.

        Args:
            regions: ``float32 [N, R, Di]``, in the order of the feature file.
            boxes: ``float32 [N, R, 4]``, x1, y1, x2, y2 in pixels.
            sizes: ``[N, 2]``, the pictures' widths and heights in pixels.

        Raises:
            InputError: A box has no height, or is not finite; a picture has no size; or a feature
                is 0 in every region of an image.
        """
        views: Tensor = self.image(regions, boxes, sizes)
        return views

    def encode_texts(self, token_ids: Tensor, lengths: Tensor) -> Tensor:
        """Sentence vectors: ``int64 [C, L], int64 [C] -> float32 [C, D]`` of length 1.

        The ids are padded with 0 to the model's ``max_words`` W.

        Raises:
            InputError: A caption has more than W tokens.
        """
        longest = self.config.max_words
        if int(lengths.max()) > longest:
            raise InputError(
                f"a caption of {int(lengths.max())} tokens; this model takes {longest}, and its "
                "program cuts what is longer before [SEP]"
            )
        padded = functional.pad(token_ids, (0, longest - token_ids.shape[1]))
        vectors: Tensor = self.text(padded, lengths)
        return vectors

    def score(
        self, regions: Tensor, boxes: Tensor, sizes: Tensor, token_ids: Tensor, lengths: Tensor
    ) -> Tensor:
        """Score all pairs; arguments as for `encode_images` and `encode_texts`.

        Returns:
            ``float32 [N, C]``, -1 to 1, higher is better.
        """
        views = self.encode_images(regions, boxes, sizes)
        return self.match(views, self.encode_texts(token_ids, lengths))

    def match(self, views: Tensor, texts: Tensor) -> Tensor:
        """The best view's cosine: ``[N, k, D], [C, D] -> [N, C]``."""
        return (views @ texts.T).amax(dim=1)


def batch_norm(norm: nn.Module, x: Tensor) -> Tensor:
    """A batch normalisation of every position's vector, ``[N, P, D]``."""
    normed: Tensor = norm(x.transpose(1, 2))
    return normed.transpose(1, 2)


def _normed(regions: Tensor) -> Tensor:
    check_features(regions)
    return norm_over_regions(regions)
