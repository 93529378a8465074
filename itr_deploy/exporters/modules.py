"""The torch modules behind a bundle's graphs, made from any family's `Deployed`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from itr_deploy.bundle.manifest import Precision
from itr_deploy.models.contract import Deployed, DeployedMatcher
from itr_deploy.models.precision import matrix_precision
from itr_deploy.models.quantised import quantised_products


class Quantised(nn.Module):
    """A module whose Linears are computed in int8."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *inputs: Any) -> Any:
        """Run the module with its Linears in int8."""
        with quantised_products():
            return self.module(*inputs)


class InPrecision(nn.Module):
    """A module whose matrix products are computed in ``precision``."""

    def __init__(self, module: nn.Module, precision: Precision) -> None:
        super().__init__()
        self.module = module
        self.precision = precision

    def forward(self, *inputs: Any) -> Any:
        """Run the module with its matrix products in the given precision."""
        with matrix_precision(self.precision):
            return self.module(*inputs)


class ImageEncoderModule(nn.Module):
    """Regions ``[B, R, Di]`` and boxes, or pictures -> stored tensors, then the embedding."""

    def __init__(self, deployed: Deployed) -> None:
        super().__init__()
        self.deployed = deployed

    def forward(self, *images: Tensor) -> tuple[Tensor, ...]:
        """The outputs of `Deployed.encode_given`."""
        return self.deployed.encode_given(images)


class TextEncoderModule(nn.Module):
    """``token_ids [B, L], lengths [B]`` -> the stored text tensors, then the embedding."""

    def __init__(self, deployed: Deployed) -> None:
        super().__init__()
        self.deployed = deployed

    def forward(self, token_ids: Tensor, lengths: Tensor) -> tuple[Tensor, ...]:
        """``int64 [B, L], int64 [B]`` -> the outputs of `Deployed.encode_texts`."""
        return self.deployed.encode_texts(token_ids, lengths)


class ScorersModule(nn.Module):
    """The matcher, together with what else the family has: prefilter, refiner, attention.

    Scores every text of a group with every image of it, for `itr_deploy.exporters.directions`.
    """

    def __init__(self, deployed: DeployedMatcher) -> None:
        super().__init__()
        self.deployed = deployed

    def forward(
        self, texts: Sequence[Tensor], lengths: Tensor, images: Sequence[Tensor]
    ) -> tuple[Tensor, ...]:
        """The outputs of `all_outputs`."""
        return self.deployed.all_outputs(texts, lengths, images)
