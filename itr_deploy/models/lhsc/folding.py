"""LHSC's graph convolution with everything folded that is constant after training."""

from __future__ import annotations

import torch
from torch import nn

from itr_deploy.models.folding import Affine, FoldedGraphLayer, linear_map, matrix, vector
from itr_deploy.models.lhsc.plain import QUARTERS, GraphConvolution


class FoldedConvolution(FoldedGraphLayer):
    """A `GraphConvolution` on ``[N, R, D]`` with two D x D products instead of six.

    Both sides of the relation have the projections' matrices times the Linear's.
    """

    def __init__(self, layer: GraphConvolution) -> None:
        out = linear_map(layer.get_submodule("W.0")).normed(layer.get_submodule("W.1"))
        super().__init__(
            layer,
            left=_side(layer, "theta", layer.fc1),
            right=_side(layer, "phi", layer.fc2),
            inner=linear_map(layer.g),
            outer=out,
        )


def _side(layer: GraphConvolution, name: str, linear: nn.Linear) -> Affine:
    """One side of the relation: four projections and the Linear after them."""
    quarters = [layer.get_submodule(f"{name}{suffix}") for suffix in QUARTERS]
    inner = Affine(
        torch.cat([matrix(quarter) for quarter in quarters]),
        torch.cat([vector(quarter) for quarter in quarters]),
    )
    return inner.then(linear_map(linear))
