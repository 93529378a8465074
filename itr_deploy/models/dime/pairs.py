"""DIME's cells over all pairs at once, without what is constant for an item.

Arrays of pairs are ``[n, P, D]``: n pairs, P positions of the refined side. The pairs of a group
are in the order ``[B, Y, X]``: X items of the refined side innermost, Y of the guiding side.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from itr_deploy.models.dime.cells import (
    DynamicLayer,
    GlobalLocalGuidance,
    Refinement,
    SelfAttention,
)
from itr_deploy.models.dime.routes import CELLS, OFF_THRESHOLD, SUM_EPS
from itr_deploy.models.layers import MASKED, l2_norm
from itr_deploy.models.precision import full_precision

NORMALIZE_EPS = 1e-12
"""Smallest norm that `torch.nn.functional.normalize` divides by."""

SUM_SCALE = 8192.0
"""A power of two, so that ``a / (b + 1e-8)`` equals ``8192 a / (8192 b + 8.192e-5)`` to the last
bit. Otherwise torch.onnx's optimiser deletes the addition of 1e-8, and 0 / 0 remains."""


class Context(NamedTuple):
    """The guiding items, as one layer needs them.

    Attributes:
        local: ``[B, Y, K, D]``, what the refined side attends to.
        mask: ``bool [B, Y, K]``, None where all positions are real.
        sign: ``[B, Y, 1, 1, D]``, the sign of the guiding vector.
        scale: ``[B, Y, K, D]``, the layer's ``fc_scale`` of `local`; None if nothing reads it.
        shift: ``[B, Y, K, D]``, ``fc_1`` of ``fc_shift`` of `local`, with the biases of both, or
            None.
    """

    local: Tensor
    mask: Tensor | None
    sign: Tensor
    scale: Tensor | None
    shift: Tensor | None


def position_norm(x: Tensor) -> Tensor:
    """Norms over the positions, ``[..., P, D] -> [..., 1, D]``, clamped as `normalize` does."""
    return torch.linalg.vector_norm(x, dim=-2, keepdim=True).clamp(min=NORMALIZE_EPS)


def attention_weights(
    kind: str, temperature: float, queries: Tensor, positions: int, context: Context
) -> Tensor:
    """Attention of ``queries [B, Y or 1, X * P, D]`` over a context: ``[B, Y, X * P, K]``."""
    affinity = queries @ context.local.transpose(2, 3)
    logits = _first_norm(kind, affinity.unflatten(2, (-1, positions))) * temperature
    if context.mask is not None:
        logits = torch.where(context.mask[:, :, None, None, :], logits, MASKED)
    return torch.softmax(logits, dim=-1).flatten(2, 3)


def _first_norm(kind: str, logits: Tensor) -> Tensor:
    """First normalisation of ``[B, Y, X, P, K]``, over the query axis P."""
    if kind == "softmax":
        return torch.softmax(logits, dim=3)
    if kind == "l2norm":
        return l2_norm(logits, 3)
    if kind == "no_norm":
        return logits
    logits = functional.leaky_relu(logits, 0.1)
    return logits / position_norm(logits) if kind == "clipped_l2norm" else logits


def guidance(cell: GlobalLocalGuidance, x: Tensor, sign: Tensor) -> Tensor:
    """Weights that global-local guidance gives its input ``x [n, P, D]``, of the same shape.

    The cell normalises ``fc_1(x) * g`` over the positions, where g is constant, so only the sign
    of g remains.

    Args:
        cell: The cell.
        x: Its input.
        sign: Sign of the guiding vector ``[n or 1, 1, D]``, and any factor.
    """
    flat = functional.linear(x.flatten(0, 1), cell.fc_1.weight, cell.fc_1.bias)
    likeness = flat.reshape(x.shape)
    return likeness * (sign / position_norm(likeness))


def modulated(refine: Refinement, x: Tensor, weights: Tensor, context: Context) -> Tensor:
    """Cross-modal refinement without its residual.

    The maps of the attended vector are applied to the context instead, once per item. They
    commute with the weighted sum, and can include their biases because the weights sum to 1.

    Args:
        refine: The cell's Linears.
        x: The cell's input, ``[B, Y or 1, X * P, D]``.
        weights: ``[B, Y, X * P, K]``.
        context: The guiding items.

    Returns:
        ``[n * P, D]``.
    """
    assert context.scale is not None
    assert context.shift is not None
    width = x.shape[-1]
    scaled = torch.tanh(weights @ context.scale) * x
    shift = (weights @ context.shift).reshape(-1, width)
    hidden = torch.addmm(shift, scaled.reshape(-1, width), refine.fc_1.weight.t())
    refined: Tensor = refine.fc_2(torch.relu(hidden))
    return refined


def reasoned(attention: SelfAttention, x: Tensor) -> Tensor:
    """Intra-modal reasoning ``[n, P, D] -> [n, P, D]``.

    The last bias is added with the value's, since the weights sum to 1, and subtracted again from
    the feed-forward's input. This makes the residual the summand of one product.
    """
    pairs, positions, width = x.shape
    heads, size = attention.heads, width // attention.heads
    query, key, value = map(_as_linear, attention.att_layer.linears)
    feed = attention.feed_forward_layer
    flat = x.reshape(-1, width)

    def split(y: Tensor) -> Tensor:
        # Splits heads by transposing matrices, several times as fast as transposing small blocks.
        return y.reshape(x.shape).transpose(1, 2).reshape(pairs, heads, size, positions)

    root = math.sqrt(size)
    queries = split(functional.linear(flat, query.weight / root, query.bias / root))
    weights = torch.softmax(queries.transpose(2, 3) @ split(key(flat)), dim=-1)
    values = split(functional.linear(flat, value.weight, value.bias + feed.fc2.bias))
    attended = (values @ weights.transpose(2, 3)).reshape(pairs, width, positions)
    flat = flat + attended.transpose(1, 2).reshape(-1, width)
    bias = feed.fc1.bias - feed.fc1.weight @ feed.fc2.bias
    hidden = torch.relu(functional.linear(flat, feed.fc1.weight, bias))
    return torch.addmm(flat, hidden, feed.fc2.weight.t()).reshape(x.shape)


def _as_linear(module: nn.Module) -> nn.Linear:
    return cast(nn.Linear, module)


@full_precision()
def raw_gates(
    layer: DynamicLayer, inputs: Mapping[int, Tensor], may_open: Sequence[Sequence[bool]]
) -> Tensor:
    """Gates ``[n, paths, 4]`` of a layer's cells, in full precision: a gate is exactly 0 or open.

    Args:
        layer: The layer.
        inputs: The cells' inputs ``[n, P, D]``, at least those with a gate that may open.
        may_open: Per out-path and cell, False for a gate that is held at 0.
    """
    cells = [cell for cell in range(len(CELLS)) if any(row[cell] for row in may_open)]
    if not cells:
        # Not len(): export would treat the example's size as a constant.
        return inputs[0].new_zeros(inputs[0].shape[0], len(may_open), len(CELLS))
    logits = [layer.cells[cell].router.mlp(inputs[cell].mean(dim=1)) for cell in cells]
    gates = torch.relu(torch.tanh(torch.cat(logits, dim=1)))
    gates = gates.unflatten(1, (len(cells), len(may_open))).transpose(1, 2)
    if all(map(all, may_open)):
        return gates
    places = gates.new_tensor([[float(c == cell) for c in range(len(CELLS))] for cell in cells])
    return gates @ places * gates.new_tensor([list(map(float, row)) for row in may_open])


def routed(raw: Tensor) -> tuple[Tensor, Tensor]:
    """`route` in a form that survives export: gates ``[n, paths, cells]``, skips ``[n, paths]``."""
    total = raw.sum(dim=-1)
    skip = (total < OFF_THRESHOLD).to(raw.dtype)
    divisor = total * SUM_SCALE + SUM_EPS * SUM_SCALE
    return raw * SUM_SCALE / divisor.unsqueeze(-1), skip


def combined(weights: Tensor, parts: Sequence[Tensor]) -> list[Tensor]:
    """Weighted sums of k tensors.

    Args:
        weights: ``[..., sums, k]``; leading axes of 1 are shared.
        parts: k tensors ``[..., P, D]``.

    Returns:
        One tensor ``[..., 1, P * D]`` per sum. Each is a product with one row, which reads every
        part once and writes no intermediate result.
    """
    shape = parts[0].shape
    stack = torch.cat(list(parts), dim=-2).reshape(*shape[:-2], len(parts), -1)
    return [row @ stack for row in weights.split(1, dim=-2)]


def chosen(weights: Tensor, places: Sequence[int], axis: int = -1) -> Tensor:
    """The entries of an axis at constant places; taking all of them costs nothing."""
    if list(places) == list(range(weights.shape[axis])):
        return weights
    return weights.index_select(axis, torch.tensor(list(places)))
