"""The network as published, in PyTorch, with the published programs' keys.

Only shapes with the checkpoint's own names; what is done between its parts is in `plain`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from itr_deploy.models.detector.config import DetectorConfig, Stage


class NormedConvolution(nn.Conv2d):
    """A convolution and the batch normalisation after it, ``[N, C, h, w]``."""

    def __init__(
        self,
        channels: int,
        out: int,
        size: int,
        stride: int = 1,
        padding: int = 0,
        dilation: int = 1,
    ) -> None:
        super().__init__(channels, out, size, stride, padding, dilation, bias=False)
        self.norm = nn.BatchNorm2d(out)

    def forward(self, x: Tensor) -> Tensor:
        """The normed result."""
        normed: Tensor = self.norm(super().forward(x))
        return normed


class Bottleneck(nn.Module):
    """Three convolutions and a sum; the first of them strides, as does the shortcut."""

    def __init__(
        self, channels: int, stage: Stage, stride: int, dilation: int, *, projects: bool
    ) -> None:
        super().__init__()
        width, out = stage.width, stage.channels
        if projects:
            self.shortcut = NormedConvolution(channels, out, 1, stride)
        self.conv1 = NormedConvolution(channels, width, 1, stride)
        self.conv2 = NormedConvolution(width, width, 3, padding=dilation, dilation=dilation)
        self.conv3 = NormedConvolution(width, out, 1)
        self.projects = projects

    def forward(self, x: Tensor) -> Tensor:
        """The block's output."""
        y = torch.relu(self.conv1(x))
        y = torch.relu(self.conv2(y))
        return torch.relu(self.conv3(y) + (self.shortcut(x) if self.projects else x))


def stage_of(channels: int, stage: Stage, stride: int, dilation: int = 1) -> nn.Sequential:
    """The blocks of a stage, of which only the first strides and projects its input."""
    first = Bottleneck(channels, stage, stride, dilation, projects=True)
    more = (
        Bottleneck(stage.channels, stage, 1, dilation, projects=False)
        for _ in range(stage.blocks - 1)
    )
    return nn.Sequential(first, *more)


class Stem(nn.Module):
    """The first convolution and the pooling after it: a quarter of the sides."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = NormedConvolution(3, channels, 7, stride=2, padding=3)
        self.pool = nn.MaxPool2d(3, 2, ceil_mode=True)

    def forward(self, image: Tensor) -> Tensor:
        """``[N, 3, H, W] -> [N, C, h, w]``."""
        pooled: Tensor = self.pool(torch.relu(self.conv1(image)))
        return pooled


class Backbone(nn.Module):
    """Prepared pictures ``[N, 3, H, W]`` -> res4 ``[N, C, h, w]``, not below 0."""

    def __init__(self, config: DetectorConfig) -> None:
        super().__init__()
        res2, res3, res4 = config.stages
        self.stem = Stem(config.stem)
        self.res2 = stage_of(config.stem, res2, stride=1)
        self.res3 = stage_of(res2.channels, res3, stride=2)
        self.res4 = stage_of(res3.channels, res4, stride=2)

    def forward(self, image: Tensor) -> Tensor:
        """The map of the picture."""
        features: Tensor = self.res4(self.res3(self.res2(self.stem(image))))
        return features


class ProposalHead(nn.Module):
    """res4 -> objectness ``[N, A or 2A, h, w]`` and deltas ``[N, 4A, h, w]``."""

    def __init__(self, config: DetectorConfig) -> None:
        super().__init__()
        anchors = len(config.anchors)
        self.conv = nn.Conv2d(config.map_channels, config.hidden, 3, padding=1)
        self.objectness_logits = nn.Conv2d(config.hidden, (1 + config.is_caffe) * anchors, 1)
        self.anchor_deltas = nn.Conv2d(config.hidden, 4 * anchors, 1)

    def forward(self, res4: Tensor) -> tuple[Tensor, Tensor]:
        """Both, channels first; of delta channel 4a + j, j is the component of anchor a."""
        hidden = torch.relu(self.conv(res4))
        return self.objectness_logits(hidden), self.anchor_deltas(hidden)


class ProposalGenerator(nn.Module):
    """The proposal head, and the cell anchors ``[A, 4]``, which are a weight."""

    def __init__(self, config: DetectorConfig) -> None:
        super().__init__()
        self.rpn_head = ProposalHead(config)
        self.anchor_generator = nn.Module()
        self.anchor_generator.cell_anchors = nn.Module()
        self.anchor_generator.cell_anchors.register_buffer("0", torch.tensor(config.anchors))


class CaffePredictor(nn.Module):
    """``bua-caffe``'s layers behind the features, all with a bias but the table of classes."""

    def __init__(self, config: DetectorConfig) -> None:
        super().__init__()
        self.cls_score = nn.Linear(config.feature_dim, config.class_scores)
        if config.attributes is not None:
            head = config.attributes
            joined = config.feature_dim + head.embedding
            self.cls_embed = nn.Embedding(config.class_scores, head.embedding)
            self.attr_linear1 = nn.Linear(joined, head.hidden)
            self.attr_linear2 = nn.Linear(head.hidden, head.scores)

    @property
    def attribute_layers(self) -> tuple[nn.Embedding, nn.Linear, nn.Linear]:
        """Table of classes, then both layers."""
        return self.cls_embed, self.attr_linear1, self.attr_linear2


class VgPredictor(nn.Module):
    """``frcnn-vg``'s layers behind the features, under its names; it uses its boxes' deltas."""

    def __init__(self, config: DetectorConfig) -> None:
        super().__init__()
        self.cls_score = nn.Linear(config.feature_dim, config.class_scores)
        self.bbox_pred = nn.Linear(config.feature_dim, 4 * config.classes)
        if config.attributes is not None:
            head = config.attributes
            joined = config.feature_dim + head.embedding
            self.cls_embedding = nn.Embedding(config.class_scores, head.embedding)
            self.fc_attr = nn.Linear(joined, head.hidden)
            self.attr_score = nn.Linear(head.hidden, head.scores)

    @property
    def attribute_layers(self) -> tuple[nn.Embedding, nn.Linear, nn.Linear]:
        """Table of classes, then both layers."""
        return self.cls_embedding, self.fc_attr, self.attr_score


class RegionHeads(nn.Module):
    """res5, every stride of which is 1 and whose 3x3 are dilated by 2, and the layers behind it."""

    def __init__(self, config: DetectorConfig) -> None:
        super().__init__()
        self.res5 = stage_of(config.map_channels, config.head, stride=1, dilation=2)
        predictor = CaffePredictor if config.is_caffe else VgPredictor
        self.box_predictor: CaffePredictor | VgPredictor = predictor(config)


class Network(nn.Module):
    """All weights of a detector."""

    def __init__(self, config: DetectorConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = Backbone(config)
        self.proposal_generator = ProposalGenerator(config)
        self.roi_heads = RegionHeads(config)
