"""Exact rewritings that families share: what is constant after training is multiplied out once.

Everything is computed in float64 and kept in the type of the layers' own weights.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from itr_deploy.models.precision import full_precision


class Affine(NamedTuple):
    """``x -> x W^T + b`` in float64, ``weight [out, in]`` and ``bias [out]``."""

    weight: Tensor
    bias: Tensor

    def then(self, outer: Affine) -> Affine:
        """This map, and another one of its result."""
        return Affine(outer.weight @ self.weight, outer.weight @ self.bias + outer.bias)

    def normed(self, norm: nn.Module) -> Affine:
        """This map, and a batch normalisation of its result."""
        scale, shift = affine(norm)
        return Affine(scale.unsqueeze(1) * self.weight, scale * self.bias + shift)

    def layer(self, dtype: torch.dtype) -> nn.Linear:
        """This map as a Linear."""
        outputs, inputs = self.weight.shape
        linear = nn.Linear(inputs, outputs, device="meta")
        linear.weight = nn.Parameter(self.weight.to(dtype), requires_grad=False)
        linear.bias = nn.Parameter(self.bias.to(dtype), requires_grad=False)
        return linear


def linear_map(layer: nn.Module) -> Affine:
    """What a Linear, or a convolution of width 1, does to every position."""
    return Affine(matrix(layer), vector(layer))


def affine(layer: nn.Module) -> tuple[Tensor, Tensor]:
    """Scale and shift, float64, of a batch norm in evaluation; 1 and 0 for other layers."""
    if not isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)):
        return torch.ones(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    mean, variance = layer.get_buffer("running_mean"), layer.get_buffer("running_var")
    scale = layer.weight.detach().double() / (variance.double() + layer.eps).sqrt()
    return scale, layer.bias.detach().double() - mean.double() * scale


def normed_convolution(layer: nn.Conv2d, norm: nn.Module) -> nn.Conv2d:
    """A convolution without a bias, and a batch normalisation of its result, as one convolution."""
    scale, shift = affine(norm)
    weight = layer.weight.detach().double() * scale.reshape(-1, 1, 1, 1)
    folded = nn.Conv2d(
        layer.in_channels,
        layer.out_channels,
        layer.kernel_size,  # type: ignore[arg-type]  # torch annotates it as any number of sides
        layer.stride,  # type: ignore[arg-type]
        layer.padding,  # type: ignore[arg-type]
        layer.dilation,  # type: ignore[arg-type]
        layer.groups,
        device="meta",
    )
    dtype = weight_type(layer)
    folded.weight = nn.Parameter(weight.to(dtype), requires_grad=False)
    folded.bias = nn.Parameter(shift.to(dtype), requires_grad=False)
    return folded


def matrix(layer: nn.Module) -> Tensor:
    """Weight ``[out, in]``, float64, of a Linear or of a convolution of width 1."""
    return layer.get_parameter("weight").detach().double().flatten(1)


def vector(layer: nn.Module) -> Tensor:
    """Bias ``[out]``, float64."""
    return layer.get_parameter("bias").detach().double()


def register(module: nn.Module, layer: nn.Module, **folded: Tensor) -> None:
    """Keep what was folded from a layer, in the type of its weights."""
    for name, value in folded.items():
        module.register_buffer(name, value.to(weight_type(layer)))


def weight_type(layer: nn.Module) -> torch.dtype:
    """The type of a layer's weights."""
    return next(layer.parameters()).dtype


class FoldedGraphLayer(nn.Module):
    """``V + A U / R`` with relations ``A = a b^T``, on ``[N, R, D]`` with two D x D products.

    With the regions as rows of V, both sides of the relation are affine in V: ``a = V P + p``,
    ``b = V Q + q``. So is their product's left factor::

        a b^T = (V (P Q^T) + p Q^T) V^T + (V (P q) + p . q) 1^T

    The relation acts on regions, whatever makes U of V on features. They commute, so that the
    layers before and after the relation are one matrix too. Nothing bounds the relation, hence no
    bias cancels.
    """

    relation: Tensor
    relation_bias: Tensor
    row: Tensor
    row_bias: Tensor
    value: Tensor
    value_bias: Tensor
    shift: Tensor

    def __init__(
        self, layer: nn.Module, left: Affine, right: Affine, inner: Affine, outer: Affine
    ) -> None:
        """Fold a layer.

        Args:
            layer: The layer as published, for the type of its weights.
            left: What makes ``a`` of the regions.
            right: What makes ``b``.
            inner: What is made of the regions before the relation gathers them.
            outer: What is made of that afterwards.
        """
        super().__init__()
        register(
            self,
            layer,
            relation=right.weight.T @ left.weight,
            relation_bias=right.weight.T @ left.bias,
            row=(left.weight.T @ right.bias).unsqueeze(1),
            row_bias=left.bias @ right.bias,
            value=outer.weight @ inner.weight,
            value_bias=outer.weight @ inner.bias,
            shift=outer.bias,
        )

    @full_precision()  # the relation is unbounded
    def forward(self, regions: Tensor) -> Tensor:
        """``[N, R, D] -> [N, R, D]``."""
        left = functional.linear(regions, self.relation, self.relation_bias)
        relations = left @ regions.transpose(1, 2) + (regions @ self.row + self.row_bias)
        values = functional.linear(regions, self.value, self.value_bias)
        return relations @ values / regions.shape[1] + (self.shift + regions)
