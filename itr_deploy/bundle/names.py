"""Names: what is made of one, and checks on lists of them."""

from __future__ import annotations

from collections.abc import Iterable


def scale_name(tensor: str) -> str:
    """Name of the scales beside a stored tensor of int8, or beside a graph's input of one."""
    return f"{tensor}_scale"


def first_repeated(names: Iterable[str]) -> str | None:
    """The first name that was seen before, None if all differ."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None
