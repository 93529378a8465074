"""SCAN's attention and aggregation on arrays of pairs, where padding takes no part.

Arrays of pairs are laid out ``[B, Y, X, Lq, Lc]``: Y contexts of Lc positions, outermost, and X
items of Lq queries each.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from itr_deploy.models.layers import NORM_EPS
from itr_deploy.models.scan.config import ScanConfig

NEVER = -1e30
"""Added to a masked logit. With norms switched off a true one may lie below `layers.MASKED`, and
nothing here is computed in half precision."""


def attention(
    config: ScanConfig,
    raw: Tensor,
    query_mask: Tensor | None = None,
    context_mask: Tensor | None = None,
) -> Tensor:
    """Attention from affinities, both ``[B, Y, X, Lq, Lc]``; section 3.1 of the paper.

    Args:
        config: The model's options.
        raw: The affinities.
        query_mask: ``bool [B, X, Lq]``, None if all are real.
        context_mask: ``bool [B, Y, Lc]``, None if all are real.
    """
    kind, scale = config.attention_norm, config.temperature
    logits = functional.leaky_relu(raw, 0.1) if kind.startswith("clipped") else raw
    queries = None if query_mask is None else query_mask[:, None, :, :, None]
    if kind == "softmax":
        if queries is not None:
            logits = logits + _bias(queries, logits)
        logits = torch.softmax(logits, dim=3) * scale
    elif kind.endswith("l2norm"):
        if queries is not None:
            logits = logits * queries.to(logits.dtype)
        # `layers.l2_norm`, with the temperature in the divisor.
        squared = (logits * logits).sum(dim=3, keepdim=True)
        logits = logits * (scale / squared.clamp(min=NORM_EPS**2).sqrt())
    else:
        logits = logits * scale
    if context_mask is not None:
        logits = logits + _bias(context_mask[:, :, None, None, :], logits)
    return torch.softmax(logits, dim=4)


def aggregate(config: ScanConfig, cosines: Tensor, mask: Tensor | None = None) -> Tensor:
    """Scores ``[B, Y, X]`` from cosines ``[B, Y, X, Lq]``; section 3.1 of the paper.

    Args:
        config: The model's options.
        cosines: The cosines.
        mask: ``bool [B, 1, X, Lq]``, None if all queries are real.
    """
    if config.aggregation in ("Mean", "Sum"):
        return _total(cosines, mask, mean=config.aggregation == "Mean")
    values = cosines if config.aggregation == "Max" else cosines * config.sharpness
    if mask is not None:
        values = values + _bias(mask, values)
    largest = values.amax(dim=-1, keepdim=True)
    if config.aggregation == "Max":
        return largest.squeeze(-1)
    total = (values - largest).exp().sum(dim=-1).log()
    return (total + largest.squeeze(-1)) / config.sharpness


def _total(cosines: Tensor, mask: Tensor | None, *, mean: bool) -> Tensor:
    if mask is None:
        return cosines.mean(dim=-1) if mean else cosines.sum(dim=-1)
    real = mask.to(cosines.dtype)
    total = (cosines * real).sum(dim=-1)
    return total / real.sum(dim=-1) if mean else total


def _bias(mask: Tensor, like: Tensor) -> Tensor:
    """0 where a mask is true, else `NEVER`; on a CPU, adding it is quicker than choosing."""
    return (1 - mask.to(like.dtype)) * NEVER
