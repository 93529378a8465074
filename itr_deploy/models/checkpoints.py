"""Safe reading of published checkpoints: tensors and plain values only, never code."""

from __future__ import annotations

import argparse
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from itr_deploy.errors import CheckpointError
from itr_deploy.models.registry import FAMILIES


def load_checkpoint(path: Path, *, expected: tuple[str, ...]) -> dict[str, Any]:
    """Read a checkpoint dictionary with ``weights_only=True`` and `argparse.Namespace` allowed.

    Args:
        path: The file.
        expected: Keys that must be there.

    Raises:
        CheckpointError: The file is missing or truncated, holds code, or lacks a key.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint file")
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path}: refused: it holds more than tensors and plain values "
            f"({_blocked(error)}); save it again with tensors, numbers, strings and one "
            "argparse.Namespace only"
        ) from error
    except Exception as error:  # damaged bytes raise anything, down to IndexError
        raise CheckpointError(
            f"{path}: cannot be read as a PyTorch checkpoint, it may be truncated: "
            f"{_first_line(error)}; copy it again"
        ) from error
    missing = [key for key in expected if not isinstance(content, dict) or key not in content]
    if missing:
        found = sorted(map(str, content)) if isinstance(content, dict) else type(content).__name__
        raise CheckpointError(
            f"{path}: no {', '.join(map(repr, missing))} in the checkpoint; it holds {found}"
        )
    return dict(content)


def strip_prefix(state: Any, prefix: str, *, source: Path) -> dict[str, Tensor]:
    """The state dict with ``prefix`` (of `torch.nn.DataParallel`) taken off every key.

    Raises:
        CheckpointError: ``state`` is not a dictionary of tensors.
    """
    if not _is_state_dict(state):
        raise CheckpointError(
            f"{source}: 'model' is a {type(state).__name__}, not one state dict of tensors; "
            f"{another_model(state)}"
        )
    return {str(key).removeprefix(prefix): value for key, value in state.items()}


def state_dicts(model: Any, *, count: int, source: Path, family: str) -> list[dict[str, Tensor]]:
    """The state dicts of a checkpoint whose ``model`` is a list of them, one per part.

    Raises:
        CheckpointError: ``model`` is not a list of ``count`` dictionaries of tensors.
    """
    if not isinstance(model, (list, tuple)):
        found = f"a {type(model).__name__}"
    elif len(model) != count or not all(map(_is_state_dict, model)):
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
        state, key = parts.get(family.mark.part), family.mark.weight
        if isinstance(state, Mapping) and {key, f"module.{key}"} & state.keys():
            return (
                f"it is a checkpoint of another model, {family.name.upper()}: "
                f"itr-deploy export {family.name}"
            )
    return "it is a checkpoint of another model"


def _is_state_dict(state: Any) -> bool:
    return isinstance(state, Mapping) and all(isinstance(v, Tensor) for v in state.values())


def option(opt: Any, name: str, kind: type, *, source: Path, default: Any = None) -> Any:
    """One option of the checkpoint's ``opt``, checked for its type.

    Raises:
        CheckpointError: The option is absent and has no default, or has another type.
    """
    if not isinstance(opt, argparse.Namespace):
        raise CheckpointError(
            f"{source}: 'opt' is a {type(opt).__name__}, expected an argparse.Namespace"
        )
    value = getattr(opt, name, default)
    if value is None:
        raise CheckpointError(f"{source}: option {name!r} is missing from the checkpoint's 'opt'")
    if kind is float and isinstance(value, int):
        value = float(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise CheckpointError(
            f"{source}: option {name}={value!r} is a {type(value).__name__}, "
            f"expected {kind.__name__}"
        )
    return value


def load_weights(
    model: nn.Module, weights: Mapping[str, Tensor], *, source: Path, family: str
) -> None:
    """Load a state dict; every key and shape must fit.

    Raises:
        CheckpointError: A key is missing, unknown or of another shape, or a weight is NaN or
            infinite, in float32 too; the message names the first such keys.
    """
    wanted = model.state_dict()
    missing = sorted(wanted.keys() - weights.keys())
    unknown = sorted(weights.keys() - wanted.keys())
    if missing or unknown:
        found = f"missing {missing[:3]}" if missing else f"unknown {unknown[:3]}"
        raise CheckpointError(f"{source}: not the weights of this {family}: {found}")
    for key, value in weights.items():
        if value.shape != wanted[key].shape:
            raise CheckpointError(
                f"{source}: {key} has shape {list(value.shape)}, "
                f"its options say {list(wanted[key].shape)}"
            )
    cast = {key: value.float() for key, value in weights.items()}
    for key, value in cast.items():
        if not torch.isfinite(weights[key]).all():
            raise CheckpointError(f"{source}: {key} holds NaN or infinity; the training diverged")
        if not torch.isfinite(value).all():
            largest = weights[key].abs().max().item()
            raise CheckpointError(
                f"{source}: {key} is {weights[key].dtype} with values up to {largest:.3g}, more "
                "than float32 holds; the training diverged"
            )
    model.load_state_dict(cast)


def _blocked(error: Exception) -> str:
    """What the safe unpickler refused, from its long message."""
    text = str(error)
    marker = "Unsupported global: GLOBAL "
    if marker in text:
        return "global " + text.split(marker, 1)[1].split(" ", 1)[0]
    return _first_line(error)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
