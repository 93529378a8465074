"""How long finding regions will take, told before it begins."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from itr_deploy.runtime.detector.images import DetectedImages


def tell_time(
    items: Any, left: Sequence[int], tell: Callable[[str], None], total: int | None = None
) -> None:
    """Say how long a detector will take for the pictures that are left, by the first of them.

    Args:
        items: The items; nothing is said but of pictures for a detector.
        left: Numbers of those that are left.
        tell: Called with the line.
        total: Number of pictures that are to be stored, by default of all.
    """
    if not isinstance(items, DetectedImages):
        return
    items.expect(left)
    seconds = items.seconds_a_picture()
    of = len(items) if total is None else total
    before = of - len(left)
    stored = f"{before:,} are stored; " if before else ""
    if seconds is not None:
        whole = lasting(seconds * len(left))
        tell(f"regions of {of:,} pictures: {stored}{seconds:.2g} s each, {whole} in all")
    elif before:
        tell(f"regions of {of:,} pictures: {stored}the rest cannot be used")


def lasting(seconds: float) -> str:
    """A duration in words, to two units at most: "3 h 20 min"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, "days"), (hours, "h"), (minutes, "min"), (rest, "s")]
    first = next((place for place, (count, _) in enumerate(parts) if count), len(parts) - 1)
    shown = [f"{count} {unit}" for count, unit in parts[first : first + 2] if count]
    return " ".join(shown) or "less than a second"
