"""The residual networks that read pictures, with the published program's keys.

The Caffe-style networks and torchvision's ResNeXt differ in where a stage strides and how the first
pooling pads, which no weight shows; the rest is read off the weights.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from itr_deploy.models.vse_infty.config import Backbone, Stage


class Bottleneck(nn.Module):
    """Three convolutions and a sum, ``[N, C, h, w]``."""

    def __init__(self, channels: int, stage: Stage, strides: tuple[int, int] | None) -> None:
        """Build a block.

        Args:
            channels: Of its input.
            stage: Its stage.
            strides: Of the first two convolutions, if the block is the first of its stage; others
                have none, and no projection of their input.
        """
        super().__init__()
        first, second = strides or (1, 1)
        width, groups = stage.width, stage.groups
        self.conv1 = nn.Conv2d(channels, width, 1, first, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, second, 1, groups=groups, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, stage.channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(stage.channels)
        if strides is not None:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels, stage.channels, 1, first * second, bias=False),
                nn.BatchNorm2d(stage.channels),
            )
        self.projects = strides is not None

    def forward(self, x: Tensor) -> Tensor:
        """The block's output."""
        y = torch.relu(self.bn1(self.conv1(x)))
        y = torch.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return torch.relu(y + (self.downsample(x) if self.projects else x))


class ResidualNetwork(nn.Module):
    """Preprocessed pictures ``[N, 3, S, S]`` -> the last feature map ``[N, Di, h, w]``."""

    def __init__(self, config: Backbone) -> None:
        super().__init__()
        self.config = config
        resnext = config.is_resnext
        pool = nn.MaxPool2d(3, 2, padding=1 if resnext else 0, ceil_mode=not resnext)
        inputs = [config.stem, *(stage.channels for stage in config.stages)]
        stages = [
            _stage(channels, stage, 1 if number == 0 else 2, resnext)
            for number, (channels, stage) in enumerate(zip(inputs, config.stages, strict=False))
        ]
        self.base = nn.Sequential(
            nn.Conv2d(3, config.stem, 7, 2, 3, bias=False),
            nn.BatchNorm2d(config.stem),
            nn.ReLU(),
            pool,
            *stages[:3],
        )
        self.top = nn.Sequential(stages[3])

    def forward(self, pictures: Tensor) -> Tensor:
        """The last feature map."""
        features: Tensor = self.top(self.base(pictures))
        return features


def _stage(channels: int, stage: Stage, stride: int, resnext: bool) -> nn.Sequential:
    strides = (1, stride) if resnext else (stride, 1)
    return nn.Sequential(
        Bottleneck(channels, stage, strides),
        *(Bottleneck(stage.channels, stage, None) for _ in range(stage.blocks - 1)),
    )


def cells(config: Backbone) -> int:
    """The number of cells of the last feature map, K; nothing is computed."""
    size = config.picture_size
    with torch.device("meta"):
        features: Tensor = ResidualNetwork(config)(torch.empty(1, 3, size, size))
    return features.shape[2] * features.shape[3]
