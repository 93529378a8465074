"""What the families' models share: norms, masks and GRUs, as published and as exported."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from itr_deploy.errors import InputError
from itr_deploy.models.precision import full_precision, recurrent_dtype

NORM_EPS = 1e-8
"""Added to a norm before dividing by it, as in the published programs."""

MASKED = -30000.0
"""Logit of a masked position: its exponential is 0 in every precision, and float16 holds it."""


def l2_norm_published(x: Tensor, dim: int) -> Tensor:
    """``x / (sqrt(sum x^2) + 1e-8)`` along ``dim``, as the published programs write it."""
    return x / (x.pow(2).sum(dim=dim, keepdim=True).sqrt() + NORM_EPS)


def l1_norm_published(x: Tensor, dim: int) -> Tensor:
    """``x / (sum |x| + 1e-8)`` along ``dim``, as the published programs write it."""
    return x / (x.abs().sum(dim=dim, keepdim=True) + NORM_EPS)


def l2_norm(x: Tensor, dim: int) -> Tensor:
    """`l2_norm_published` in a form that survives export.

    torch.onnx's optimiser deletes an addition of 1e-8, which makes a padded row 0/0. Clamping the
    squared sum keeps the guard; the value differs by a relative ``1e-8 / norm``.
    """
    return x / torch.clamp((x * x).sum(dim=dim, keepdim=True), min=NORM_EPS**2).sqrt()


def norm_over_regions(x: Tensor) -> Tensor:
    """Divide every feature by its L2 norm over an image's regions, ``[N, R, D]``; there is no eps.

    VSRN's and CAMERA's programs normalise along axis 1, which is that of the regions, and weights
    were trained with it. A feature that is 0 in every region becomes NaN.
    """
    return x / (x * x).sum(dim=1, keepdim=True).sqrt()


def check_features(x: Tensor) -> None:
    """Refuse images ``[N, R, D]`` of which `norm_over_regions` would make NaN. For plain models.

    Raises:
        InputError: A feature is 0 in every region of an image; the message names the first.
    """
    silent = (x * x).sum(dim=1) == 0
    if silent.any():
        image = int(silent.any(dim=1).nonzero()[0])
        raise InputError(
            f"image {image}: {int(silent[image].sum())} of its {x.shape[2]} embedded features are "
            "0 in every region, and the published model divides 0 by 0; leave the image out, or "
            "extract its features again"
        )


def position_mask(lengths: Tensor, positions: int) -> Tensor:
    """Which positions are real: ``lengths int64 [...] -> bool [..., positions]``."""
    return torch.arange(positions, device=lengths.device) < lengths.unsqueeze(-1)


def bigru_packed(rnn: nn.GRU, x: Tensor, lengths: Tensor) -> Tensor:
    """Run a bidirectional GRU over each row's true length and average the two directions.

    Args:
        rnn: A ``batch_first`` bidirectional GRU with hidden size D.
        x: ``float32 [B, L, in]``, padded on the right.
        lengths: ``int64 [B]``, each at least 1.

    Returns:
        ``float32 [B, L, D]``; padded positions are 0.
    """
    forward, backward = gru_packed(rnn, x, lengths).chunk(2, dim=-1)
    return (forward + backward) / 2


def gru_packed(rnn: nn.GRU, x: Tensor, lengths: Tensor) -> Tensor:
    """Run a GRU over each row's true length.

    Args:
        rnn: A ``batch_first`` GRU.
        x: ``float32 [B, L, in]``, padded on the right.
        lengths: ``int64 [B]``, each at least 1.

    Returns:
        ``float32 [B, L, D]``, or ``[B, L, 2D]`` if it has two directions; padded positions are 0.
    """
    packed = pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
    output, _ = pad_packed_sequence(rnn(packed)[0], batch_first=True, total_length=x.shape[1])
    return output


def bigru_two_pass(rnn: nn.GRU, x: Tensor, lengths: Tensor) -> Tensor:
    """`bigru_packed` as two forward GRUs, the second over each row reversed within its length.

    Packed sequences cannot be exported, and a GRU with ``sequence_lens`` has no half-precision
    form in TensorRT. Here padding comes after the true words in both passes, so it cannot
    affect them, and is set to 0 at the end. Same arguments and result as `bigru_packed`.
    """
    batch, length = x.shape[0], x.shape[1]
    steps = torch.arange(length, device=x.device)
    ends = lengths.unsqueeze(1)
    mirrored = torch.where(steps < ends, ends - 1 - steps, steps)
    rows = (mirrored + length * torch.arange(batch, device=x.device).unsqueeze(1)).reshape(-1)

    def reverse(y: Tensor) -> Tensor:
        width = y.shape[-1]
        return y.reshape(batch * length, width).index_select(0, rows).reshape(batch, length, width)

    for layer in range(rnn.num_layers):
        ahead = _gru_one_direction(rnn, f"l{layer}", x)
        behind = reverse(_gru_one_direction(rnn, f"l{layer}_reverse", reverse(x)))
        if layer + 1 < rnn.num_layers:
            x = torch.cat([ahead, behind], dim=-1)
    return _only_real((ahead + behind) / 2, lengths)


def gru_one_pass(rnn: nn.GRU, x: Tensor, lengths: Tensor) -> Tensor:
    """`gru_packed` of a GRU of one direction, in the form of `bigru_two_pass`."""
    return _only_real(gru_one_way(rnn, x), lengths)


def _only_real(x: Tensor, lengths: Tensor) -> Tensor:
    """``x [B, L, D]`` with its padded positions set to 0."""
    return x * position_mask(lengths, x.shape[1]).unsqueeze(-1).to(x.dtype)


def gru_one_way(rnn: nn.GRU, x: Tensor) -> Tensor:
    """The outputs of a one-direction GRU, ``[B, L, in] -> [B, L, D]``, in a form that exports.

    A position's output depends on those up to it alone, so padding on the right does not matter.
    """
    for layer in range(rnn.num_layers):
        x = _gru_one_direction(rnn, f"l{layer}", x)
    return x


def last_output(outputs: Tensor, lengths: Tensor) -> Tensor:
    """Each row's output at its last real position: ``[B, L, D], int64 [B] -> [B, D]``."""
    batch, length, width = outputs.shape
    places = length * torch.arange(batch, device=outputs.device) + lengths - 1
    return outputs.reshape(batch * length, width).index_select(0, places)


def _gru_one_direction(rnn: nn.GRU, suffix: str, x: Tensor) -> Tensor:
    """One forward GRU pass ``[B, L, in] -> [B, L, D]``, computed in `recurrent_dtype`.

    Under export it becomes one ONNX ``GRU`` node: the exporter's own translation of
    ``torch.nn.GRU`` freezes the time axis.
    """
    dtype = recurrent_dtype(x.dtype)
    with full_precision():
        if torch.compiler.is_exporting():
            return _onnx_gru(rnn, suffix, x.to(dtype)).to(x.dtype)
        weights = [weight.to(dtype) for weight in _weights(rnn, suffix)]
        start = x.new_zeros(1, x.shape[0], rnn.hidden_size, dtype=dtype)
        y = torch.gru(x.to(dtype), start, weights, True, 1, 0.0, False, False, True)[0]
        return y.to(x.dtype)


def _onnx_gru(rnn: nn.GRU, suffix: str, x: Tensor) -> Tensor:
    names = [f"{part}_{suffix}" for part in ONNX_PARTS]
    made = hasattr(rnn, names[0])
    weights = [getattr(rnn, name) for name in names] if made else _onnx_weights(rnn, suffix)
    length, batch, hidden_size = x.shape[1], x.shape[0], rnn.hidden_size
    y, _ = torch.onnx.ops.symbolic_multi_out(
        "GRU",
        (x.transpose(0, 1), *(weight.to(x.dtype) for weight in weights)),
        attrs={"hidden_size": hidden_size, "linear_before_reset": 1},
        dtypes=(x.dtype, x.dtype),
        shapes=((length, 1, batch, hidden_size), (1, batch, hidden_size)),
        version=14,
    )
    return y.squeeze(1).transpose(0, 1)


ONNX_PARTS = ("onnx_weight_ih", "onnx_weight_hh", "onnx_bias")


@contextmanager
def onnx_gru_weights(module: nn.Module) -> Iterator[None]:
    """Give a module's GRUs their weights in ONNX's order for a while, for a trace.

    A trace without takes longer: each slice of a weight is traced, translated and folded away.
    """
    made = [
        (rnn, f"{part}_l{layer}{direction}", weight)
        for rnn in module.modules()
        if isinstance(rnn, nn.GRU)
        for layer in range(rnn.num_layers)
        for direction in ("", "_reverse")[: 1 + rnn.bidirectional]
        for part, weight in zip(ONNX_PARTS, _onnx_weights(rnn, f"l{layer}{direction}"), strict=True)
    ]
    for rnn, name, weight in made:
        rnn.register_buffer(name, weight, persistent=False)
    try:
        yield
    finally:
        for rnn, name, _ in made:
            delattr(rnn, name)


def _weights(rnn: nn.GRU, suffix: str) -> list[Tensor]:
    parts = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    return [getattr(rnn, f"{part}_{suffix}") for part in parts]


def _onnx_weights(rnn: nn.GRU, suffix: str) -> list[Tensor]:
    """The `ONNX_PARTS` of one direction of a layer, each with an axis of one direction first."""
    w_ih, w_hh, b_ih, b_hh = map(_gates_in_onnx_order, _weights(rnn, suffix))
    return [part.unsqueeze(0) for part in (w_ih, w_hh, torch.cat([b_ih, b_hh]))]


def _gates_in_onnx_order(weight: Tensor) -> Tensor:
    """PyTorch stacks a GRU's gates as reset, update, new; ONNX as update, reset, new."""
    size = weight.shape[0] // 3
    # Slices, not chunk(): the exporter folds a Slice of a constant, but not a Split.
    reset, update, new = weight[:size], weight[size : 2 * size], weight[2 * size :]
    return torch.cat([update, reset, new], dim=0)
