"""VSE-infinity with everything multiplied out, or looked up, that is constant after training."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from itr_deploy.models.folding import linear_map, normed_convolution, weight_type
from itr_deploy.models.layers import position_mask
from itr_deploy.models.precision import full_precision
from itr_deploy.models.vse_infty.backbone import Bottleneck, ResidualNetwork
from itr_deploy.models.vse_infty.plain import RegionEncoder
from itr_deploy.models.vse_infty.pooling import FILL, Gpo


class TabulatedPooling(nn.Module):
    """A `Gpo` whose weights are a table, ``[N, K, D], int64 [N] -> [N, D]``.

    The weights depend on the number of positions alone. What is left is a row of the table, a sort
    and a weighted sum. A row is exactly 0 beyond its number of positions, so that padding adds 0.
    """

    table: Tensor

    def __init__(self, pooling: Gpo, longest: int) -> None:
        """Compute the table.

        Args:
            pooling: The pooling as published.
            longest: Most positions of an item; longer ones fail.
        """
        super().__init__()
        self.register_buffer("table", _table(pooling, torch.arange(1, longest + 1)))

    @full_precision()  # the weights of the places are as exact as they were tabulated
    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        """Pool each item's true positions; ``lengths`` are at least 1."""
        positions = features.shape[1]
        real = position_mask(lengths, positions).unsqueeze(2)
        ordered = _sorted(torch.where(real, features, FILL))
        weights = self.table.index_select(0, lengths - 1)[:, :positions]
        return (ordered * weights.unsqueeze(2)).sum(dim=1)


class FixedPooling(nn.Module):
    """A `Gpo` of items that all have K positions, ``[N, K, D] -> [N, D]``."""

    weights: Tensor

    def __init__(self, pooling: Gpo, positions: int) -> None:
        super().__init__()
        weights = _table(pooling, torch.tensor([positions]))
        self.register_buffer("weights", weights.reshape(positions, 1))

    @full_precision()
    def forward(self, features: Tensor) -> Tensor:
        """Pool all positions."""
        return (_sorted(features) * self.weights).sum(dim=1)


class FoldedRegions(nn.Module):
    """A `RegionEncoder`'s local features, its batch normalisation multiplied into a Linear."""

    def __init__(self, encoder: RegionEncoder) -> None:
        super().__init__()
        first, second = encoder.mlp.layers
        self.fc, self.second = encoder.fc, second
        self.first = linear_map(first).normed(encoder.mlp.bns[0]).layer(weight_type(first))

    @full_precision()  # an item is encoded only once, and a re-ranker reads small differences
    def forward(self, regions: Tensor) -> Tensor:
        """``[N, R, Di] -> [N, R, D]``."""
        embedded: Tensor = self.fc(regions) + self.second(torch.relu(self.first(regions)))
        return embedded


def fold_network(network: ResidualNetwork) -> ResidualNetwork:
    """A copy of a network whose convolutions hold the batch normalisations after them."""
    folded = copy.deepcopy(network)
    _fold(folded.base, "0", "1")
    for block in folded.modules():
        if isinstance(block, Bottleneck):
            for number in (1, 2, 3):
                _fold(block, f"conv{number}", f"bn{number}")
            if block.projects:
                _fold(block.downsample, "0", "1")
    return folded


def _fold(parent: nn.Module, convolution: str, norm: str) -> None:
    """Fold a batch normalisation into the convolution before it; nothing is left in its place."""
    layer = parent.get_submodule(convolution)
    assert isinstance(layer, nn.Conv2d)
    setattr(parent, convolution, normed_convolution(layer, parent.get_submodule(norm)))
    setattr(parent, norm, nn.Identity())


def _sorted(features: Tensor) -> Tensor:
    """Every feature on its own, descending over the positions; ONNX has TopK but no Sort."""
    return torch.topk(features, features.shape[1], dim=1).values


@torch.no_grad()
def _table(pooling: Gpo, lengths: Tensor) -> Tensor:
    """The weights for these numbers of positions, computed in float64."""
    exact = copy.deepcopy(pooling).double()
    return exact.weights(lengths, int(lengths.max())).to(weight_type(pooling))
