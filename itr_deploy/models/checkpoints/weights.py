"""Weights from a checkpoint into a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from itr_deploy.errors import CheckpointError
from itr_deploy.models.checkpoints.states import is_counter, plain_key

M = TypeVar("M", bound=nn.Module)

FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
"""Types that weights may have; they become float32."""


def load_weights(
    model: nn.Module, weights: Mapping[str, Tensor], *, source: Path, family: str
) -> None:
    """Load a state dict; every key and shape must fit, but for counters of batch normalisations.

    Raises:
        CheckpointError: A key is missing, unknown or of another shape, or a weight is no floating
            point number, or NaN or infinite as float32; the message names the first such keys.
    """
    wanted = model.state_dict()
    loaded = dict(wanted)
    for name, (key, value) in _fitting(wanted, weights, source=source, family=family).items():
        loaded[name] = _as_float32(value, key, source)
    model.load_state_dict(loaded)


def build_loaded(
    build: Callable[[], M],
    parts: Mapping[str, Mapping[str, Tensor]],
    *,
    source: Path,
    family: str,
    said_by: str = "its options say",
) -> M:
    """Build a model and load its weights; sizes that the weights do not have are never allocated.

    Args:
        build: Makes the model, with the sizes that the checkpoint's options say.
        parts: A state dict for each part, by the name of its submodule; ``""`` is the whole model.
        source: The checkpoint, for messages.
        family: The family, for messages.
        said_by: What says of which shape a weight is, for messages.

    Raises:
        CheckpointError: The weights are not those of this model, see `load_weights`.
    """
    called = {name: f"{family}'s {name} part" if name else family for name in parts}
    try:
        with torch.device("meta"):
            shell = build()
    except RuntimeError as error:  # a size overflows
        raise CheckpointError(
            f"{source}: its options give sizes that no tensor can have"
        ) from error
    for name, weights in parts.items():
        wanted = shell.get_submodule(name).state_dict()
        _fitting(wanted, weights, source=source, family=called[name], said_by=said_by)
    model = build()
    for name, weights in parts.items():
        load_weights(model.get_submodule(name), weights, source=source, family=called[name])
    return model


def _fitting(
    wanted: Mapping[str, Tensor],
    weights: Mapping[str, Tensor],
    *,
    source: Path,
    family: str,
    said_by: str = "its options say",
) -> dict[str, tuple[str, Tensor]]:
    """The weights by the model's own keys, each with its key in the checkpoint.

    Raises:
        CheckpointError: A key is missing, unknown or of another shape.
    """
    own = {plain_key(key): key for key in wanted if not is_counter(key)}
    given = {plain_key(key): (key, value) for key, value in weights.items() if not is_counter(key)}
    missing, unknown = sorted(own.keys() - given.keys()), sorted(given.keys() - own.keys())
    if missing or unknown:
        found = f"missing {missing[:3]}" if missing else f"unknown {unknown[:3]}"
        raise CheckpointError(f"{source}: not the weights of this {family}: {found}")
    for plain, (key, value) in given.items():
        shape = wanted[own[plain]].shape
        if value.shape != shape:
            raise CheckpointError(
                f"{source}: {key} has shape {list(value.shape)}, {said_by} {list(shape)}"
            )
    return {own[plain]: entry for plain, entry in given.items()}


def _as_float32(value: Tensor, key: str, source: Path) -> Tensor:
    """A weight in float32.

    Raises:
        CheckpointError: It is no floating point number, or not finite in float32.
    """
    if value.dtype not in FLOATS:
        dtype = str(value.dtype).removeprefix("torch.")
        raise CheckpointError(
            f"{source}: {key} holds {dtype} numbers; save it with .float(), before any quantisation"
        )
    cast = value.float()
    if not torch.isfinite(cast).all():
        if torch.isfinite(value).all():
            largest = float(value.abs().max())
            raise CheckpointError(
                f"{source}: {key} holds {largest:.3g}, more than float32 can; the training diverged"
            )
        raise CheckpointError(f"{source}: {key} holds NaN or infinity; the training diverged")
    return cast
