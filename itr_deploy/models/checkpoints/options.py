"""One option of a checkpoint's ``opt``."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

from itr_deploy.errors import CheckpointError

LARGEST = 10_000_000
"""Largest width, size or number that an option may have; no published model comes near."""


def option(
    opt: Any, name: str, kind: type, *, source: Path, default: Any = None, most: int = LARGEST
) -> Any:
    """One option of the checkpoint's ``opt``, checked for its type and range.

    Args:
        opt: The checkpoint's ``opt``.
        name: The option's name.
        kind: Its type.
        source: The checkpoint, for messages.
        default: Its value where it is absent.
        most: Its largest value, of an integer.

    Raises:
        CheckpointError: The option is absent and has no default, has another type, or is a number
            that is not finite or out of range.
    """
    if not isinstance(opt, argparse.Namespace):
        raise CheckpointError(
            f"{source}: 'opt' is a {type(opt).__name__}, expected an argparse.Namespace or a "
            "dictionary of the options of the training"
        )
    value: Any = getattr(opt, name, default)
    if value is None:
        raise CheckpointError(f"{source}: option {name!r} is missing from the checkpoint's 'opt'")
    if kind is float and isinstance(value, int) and abs(value) <= LARGEST:
        value = float(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise CheckpointError(
            f"{source}: option {name}={_shown(value)} is a {type(value).__name__}, "
            f"expected {kind.__name__}"
        )
    bad = _out_of_range(value, most)
    if bad:
        raise CheckpointError(f"{source}: option {name}={_shown(value)} is {bad}")
    return value


def _shown(value: Any) -> str:
    try:
        text = repr(value)
    except Exception:  # a number of more digits than Python prints, an object of its own
        return "..."
    return " ".join(text.split())[:80]


def _out_of_range(value: Any, most: int) -> str:
    """What is wrong with a number; empty for what is no number, or in range."""
    if type(value) is int and abs(value) > most:
        return f"out of range, 0 to {most}"
    if isinstance(value, float) and not math.isfinite(value):
        return "not a finite number"
    return ""
