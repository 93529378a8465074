"""Linears that were trained with `torch.nn.utils.weight_norm` over a whole matrix."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor


def without_weight_norm(weights: Mapping[str, Tensor], layer: str) -> dict[str, Tensor]:
    """A state dict in which a Linear has its weight instead of ``g`` and ``v``.

    The weight is ``g v / ||v||`` with a single norm for the whole matrix (``dim=None``). So ``g``
    is one number, of shape ``()`` or ``(1)`` by the version of PyTorch. Anything else is left as
    it is, for `load_weights` to name.

    Args:
        weights: The state dict.
        layer: The Linear's key, without ``.weight``.
    """
    plain, key = dict(weights), f"{layer}.weight"
    scale, direction = plain.get(f"{key}_g"), plain.get(f"{key}_v")
    if scale is None or direction is None or scale.numel() != 1:
        return plain
    if scale.is_floating_point() and direction.is_floating_point():
        direction = direction.float()  # as all weights become
        plain[key] = scale.float().reshape(()) * direction / direction.norm()
        del plain[f"{key}_g"], plain[f"{key}_v"]
    return plain
