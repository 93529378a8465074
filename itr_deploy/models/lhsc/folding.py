"""LHSC's layers with everything folded that is constant after training."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from itr_deploy.models.layers import MASKED, NORM_EPS, l2_norm
from itr_deploy.models.lhsc.plain import QUARTERS, GatedSum, GlobalAttention, GraphConvolution
from itr_deploy.models.precision import full_precision


class FoldedConvolution(nn.Module):
    """A `GraphConvolution` on ``[N, R, D]`` with two D x D products instead of six.

    With the region embeddings as rows of V, both sides of the relation are affine in V (the
    projections' matrices times the Linear's): ``a = V P + p``, ``b = V Q + q``. So is their
    product's left factor::

        a b^T = (V (P Q^T) + p Q^T) V^T + (V (P q) + p . q) 1^T

    The relation acts on regions, the matrices of ``g`` and ``W`` and the batch normalisation on
    features. They commute, so the latter are one matrix too.
    """

    relation: Tensor
    relation_bias: Tensor
    row: Tensor
    row_bias: Tensor
    value: Tensor
    value_bias: Tensor
    shift: Tensor

    def __init__(self, layer: GraphConvolution) -> None:
        super().__init__()
        left, left_bias = _side(layer, "theta", layer.fc1)
        right, right_bias = _side(layer, "phi", layer.fc2)
        conv = layer.get_submodule("W.0")
        scale, shift = affine(layer.get_submodule("W.1"))
        out = scale.unsqueeze(1) * _matrix(conv)
        _register(
            self,
            layer,
            relation=right.T @ left,
            relation_bias=right.T @ left_bias,
            row=(left.T @ right_bias).unsqueeze(1),
            row_bias=left_bias @ right_bias,
            value=out @ _matrix(layer.g),
            value_bias=out @ _vector(layer.g),
            shift=scale * _vector(conv) + shift,
        )

    @full_precision()  # the relation is unbounded
    def forward(self, regions: Tensor) -> Tensor:
        """``[N, R, D] -> [N, R, D]``."""
        left = functional.linear(regions, self.relation, self.relation_bias)
        relations = left @ regions.transpose(1, 2) + (regions @ self.row + self.row_bias)
        values = functional.linear(regions, self.value, self.value_bias)
        return relations @ values / regions.shape[1] + (self.shift + regions)


class FoldedGlobalAttention(nn.Module):
    """A `GlobalAttention` whose batch normalisations, if any, become a scale and a shift.

    The normalisation over D is folded into the Linear before it. The one over the regions
    scales rows and cannot be folded. The last Linear's bias does not change a softmax.
    """

    local: Tensor
    scale: Tensor
    shift: Tensor
    pooled: Tensor
    pooled_bias: Tensor
    common: Tensor

    def __init__(self, attention: GlobalAttention) -> None:
        super().__init__()
        local, pooled = attention.embedding_local, attention.embedding_global
        local_scale, local_shift = (value.unsqueeze(1) for value in affine(local[1]))
        scale, shift = affine(pooled[1])
        _register(
            self,
            attention,
            local=_matrix(local[0]),
            scale=local_scale,
            shift=local_scale * _vector(local[0]) + local_shift,
            pooled=scale.unsqueeze(1) * _matrix(pooled[0]),
            pooled_bias=scale * _vector(pooled[0]) + shift,
            common=_matrix(attention.embedding_common[0]),
        )

    def forward(self, parts: Tensor, mask: Tensor | None = None) -> Tensor:
        """``[N, P, D] -> [N, D]``, over the parts where ``mask [N, P]`` is true."""
        if mask is None:
            mean = parts.mean(dim=1)
        else:
            real = mask.to(parts.dtype).unsqueeze(2)
            mean = (parts * real).sum(dim=1) / real.sum(dim=1)
        pooled = torch.tanh(functional.linear(mean, self.pooled, self.pooled_bias))
        local = torch.tanh(functional.linear(parts, self.local) * self.scale + self.shift)
        logits = (local @ (pooled * self.common).unsqueeze(2)).squeeze(2)
        if mask is not None:
            logits = torch.where(mask, logits, MASKED)
        weights = torch.softmax(logits, dim=1)
        return l2_norm((weights.unsqueeze(1) @ parts).squeeze(1), -1)


class FoldedGate(nn.Module):
    """A `GatedSum`'s gate, its batch normalisation multiplied into its Linear.

    The published gates are divided by their sum, and the weighted sum by its norm. The first
    division has no effect and is left out.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, gated: GatedSum) -> None:
        super().__init__()
        scale, shift = affine(gated.bn)
        linear = gated.attn_sim_w
        weight = (scale * _matrix(linear)).squeeze(0)
        _register(self, linear, weight=weight, bias=scale * _vector(linear) + shift)

    def forward(self, vectors: Tensor) -> Tensor:
        """Weights ``[..., K]`` of vectors ``[..., K, S]`` as they are before their L2 norm.

        The gate and the sum both read a vector after its norm: multiplying them by the
        reciprocal norm saves writing the normalised vectors.
        """
        squared = (vectors * vectors).sum(dim=-1)
        scale = torch.clamp(squared, min=NORM_EPS**2).sqrt().reciprocal()
        return torch.sigmoid(vectors @ self.weight * scale + self.bias) * scale


def affine(layer: nn.Module) -> tuple[Tensor, Tensor]:
    """Scale and shift, float64, of a batch norm in evaluation; 1 and 0 for other layers."""
    if not isinstance(layer, nn.BatchNorm1d):
        return torch.ones(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    mean, variance = layer.get_buffer("running_mean"), layer.get_buffer("running_var")
    scale = layer.weight.detach().double() / (variance.double() + layer.eps).sqrt()
    return scale, layer.bias.detach().double() - mean.double() * scale


def _register(module: nn.Module, layer: nn.Module, **folded: Tensor) -> None:
    """Keep what was folded from a layer, in the type of its weights."""
    dtype = next(layer.parameters()).dtype
    for name, value in folded.items():
        module.register_buffer(name, value.to(dtype))


def _side(layer: GraphConvolution, name: str, linear: nn.Linear) -> tuple[Tensor, Tensor]:
    """Weight and bias of one side of the relation: four projections and the Linear after them."""
    quarters = [layer.get_submodule(f"{name}{suffix}") for suffix in QUARTERS]
    inner = torch.cat([_matrix(quarter) for quarter in quarters])
    bias = torch.cat([_vector(quarter) for quarter in quarters])
    outer = _matrix(linear)
    return outer @ inner, outer @ bias + _vector(linear)


def _matrix(layer: nn.Module) -> Tensor:
    """Weight ``[out, in]``, float64, of a Linear or of a convolution of width 1."""
    return layer.get_parameter("weight").detach().double().flatten(1)


def _vector(layer: nn.Module) -> Tensor:
    """Bias ``[out]``, float64."""
    return layer.get_parameter("bias").detach().double()
