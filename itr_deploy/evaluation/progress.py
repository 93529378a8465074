"""Whom an evaluation tells of its progress."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Bar:
    """What a progress bar is told.

    Attributes:
        step: What begins now.
        start: What the pairs are for, how many there are, and how many are done already.
        update: How many are done.
    """

    step: Callable[[str], object] = lambda name: None
    start: Callable[[str, int, int], object] = lambda name, total, done: None
    update: Callable[[int], object] = lambda done: None


QUIET = Bar()
"""Told, and says nothing."""
