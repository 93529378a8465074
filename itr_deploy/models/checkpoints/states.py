"""State dicts, freed from what wrapped the model while it was trained."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from itr_deploy.errors import CheckpointError
from itr_deploy.models.registry import FAMILIES

WRAPPERS = frozenset({"module", "_orig_mod"})
"""Parts of a key that `torch.nn.DataParallel` and `torch.compile` add, anywhere in it."""

COUNTERS = "num_batches_tracked"
"""Counters of batch normalisations, which no score depends on and PyTorch before 0.4.1 lacked."""


def plain_key(key: Any) -> str:
    """A weight's key without what wrapped its module.

    >>> plain_key("module.txt_enc.module.rnn.weight_ih_l0")
    'txt_enc.rnn.weight_ih_l0'
    """
    return ".".join(part for part in str(key).split(".") if part not in WRAPPERS)


def is_counter(key: str) -> bool:
    """Whether a key is that of a batch normalisation's counter."""
    return key.rpartition(".")[2] == COUNTERS


def is_state_dict(state: Any) -> bool:
    """Whether something is a dictionary of tensors alone."""
    return isinstance(state, Mapping) and all(isinstance(v, Tensor) for v in state.values())


def plain_model(model: Any, *, source: Path) -> Any:
    """A checkpoint's state dict, or list of them, with plain keys and without counters.

    Anything else is left as it is.

    Raises:
        CheckpointError: Two keys become one, or a tensor is not an ordinary one.
    """
    if isinstance(model, (list, tuple)) and model and all(map(is_state_dict, model)):
        return [_plain_state(state, source) for state in model]
    return _plain_state(model, source) if is_state_dict(model) else model


def _plain_state(state: Mapping[Any, Tensor], source: Path) -> dict[str, Tensor]:
    plain: dict[str, Tensor] = {}
    for key, value in state.items():
        name = plain_key(key)
        if is_counter(name):
            continue
        if name in plain:
            raise CheckpointError(
                f"{source}: {name} is there twice, once as {key!a:.80}; save the state dict of the "
                "model alone"
            )
        found = _unusual(value)
        if found is not None:
            raise CheckpointError(f"{source}: {name} is {found[0]}; save it {found[1]}")
        plain[name] = value.resolve_neg()
    return plain


def _unusual(value: Tensor) -> tuple[str, str] | None:
    """What a tensor is that does not simply lie in memory, and how to save it; else None."""
    if value.is_meta:
        return "a meta tensor, which has no values", "from the model that was trained"
    if value.is_nested:
        return "a nested tensor", "as ordinary tensors"
    if value.is_quantized:
        return "quantised", "before it is quantised, or with .dequantize()"
    if value.layout != torch.strided:
        return f"sparse ({str(value.layout).removeprefix('torch.')})", "with .to_dense()"
    if value.is_complex():
        return "complex", "as real numbers"
    if value.numel() * value.element_size() > value.untyped_storage().nbytes():
        size = " x ".join(map(str, value.shape))
        return f"{size} numbers made of fewer", "with .clone() if it is meant to be so"
    return None


def state_dict(model: Any, *, source: Path) -> dict[str, Tensor]:
    """The state dict of a checkpoint whose ``model`` is one.

    Raises:
        CheckpointError: ``model`` is not a dictionary of tensors.
    """
    if not is_state_dict(model):
        odd = _no_tensor(model)
        if odd is not None:
            raise CheckpointError(
                f"{source}: {str(odd)[:80]!r} of 'model' is a {type(model[odd]).__name__}, not a "
                "tensor; save model.state_dict()"
            )
        raise CheckpointError(
            f"{source}: 'model' is a {type(model).__name__}, not one state dict of tensors; "
            f"{another_model(model)}"
        )
    return dict(model)


def _no_tensor(model: Any) -> Any:
    """The key of a value that is no tensor, among tensors; None if there is none."""
    if not isinstance(model, Mapping) or not any(isinstance(v, Tensor) for v in model.values()):
        return None
    return next((key for key, value in model.items() if not isinstance(value, Tensor)), None)


def state_dicts(model: Any, *, count: int, source: Path, family: str) -> list[dict[str, Tensor]]:
    """The state dicts of a checkpoint whose ``model`` is a list of them, one per part.

    Raises:
        CheckpointError: ``model`` is not a list of ``count`` dictionaries of tensors.
    """
    if not isinstance(model, (list, tuple)):
        found = f"a {type(model).__name__}"
    elif len(model) != count or not all(map(is_state_dict, model)):
        found = f"a list of {len(model)}"
    else:
        return [dict(state) for state in model]
    raise CheckpointError(
        f"{source}: not {family}'s checkpoint: 'model' is {found}, not a list of {count} state "
        f"dicts of tensors; {another_model(model)}"
    )


def another_model(model: Any) -> str:
    """The end of an error message: whose checkpoint ``model`` is, if a family's mark shows it."""
    listed = isinstance(model, (list, tuple))
    parts: dict[int | None, Any] = dict(enumerate(model)) if listed else {None: model}
    for family in FAMILIES:
        if family.mark is None:
            continue
        state = parts.get(family.mark.part)
        if isinstance(state, Mapping) and family.mark.is_among(map(plain_key, state)):
            return (
                f"it is a checkpoint of another model, {family.name.upper()}: "
                f"itr-deploy export {family.name}"
            )
    return "it is a checkpoint of another model"
