"""Layers of the similarity vectors with everything folded that is constant after training."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from itr_deploy.models.folding import affine, matrix, register, vector
from itr_deploy.models.layers import MASKED, NORM_EPS, l2_norm
from itr_deploy.models.similarity.plain import GatedSum, GlobalAttention


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
        register(
            self,
            attention,
            local=matrix(local[0]),
            scale=local_scale,
            shift=local_scale * vector(local[0]) + local_shift,
            pooled=scale.unsqueeze(1) * matrix(pooled[0]),
            pooled_bias=scale * vector(pooled[0]) + shift,
            common=matrix(attention.embedding_common[0]),
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


class FoldedGatedSum(nn.Module):
    """A `GatedSum` of vectors before their L2 norm, its batch norm multiplied into its Linear.

    The published gates are divided by their sum, and the weighted sum by its norm. The first
    division has no effect and is left out.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, gated: GatedSum) -> None:
        super().__init__()
        scale, shift = affine(gated.bn)
        linear = gated.attn_sim_w
        weight = (scale * matrix(linear)).squeeze(0)
        register(self, linear, weight=weight, bias=scale * vector(linear) + shift)

    def forward(self, local: Tensor, overall: Tensor, mask: Tensor) -> Tensor:
        """``local [..., L, S], overall [..., 1, S], mask [..., L] -> [..., S]``."""
        gates = self._gates(local) * mask.to(local.dtype)
        mixed = gates.unsqueeze(-2) @ local + self._gates(overall).unsqueeze(-1) * overall
        return l2_norm(mixed, -1).squeeze(-2)

    def _gates(self, vectors: Tensor) -> Tensor:
        """Weights ``[..., K]`` of vectors ``[..., K, S]`` as they are before their L2 norm.

        The gate and the sum both read a vector after its norm: multiplying them by the
        reciprocal norm saves writing the normalised vectors.
        """
        squared = (vectors * vectors).sum(dim=-1)
        scale = torch.clamp(squared, min=NORM_EPS**2).sqrt().reciprocal()
        # As a matrix product with one column this takes twice as long on a CPU.
        logits = (vectors * self.weight).sum(dim=-1) * scale + self.bias
        return torch.sigmoid(logits) * scale
