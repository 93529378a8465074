"""Names: deriving one from another, and checking lists of them."""

from __future__ import annotations

from collections.abc import Iterable


def scale_name(tensor: str) -> str:
    """Name of the scales of an int8 tensor, whether stored or an input of a graph."""
    return f"{tensor}_scale"


def shortened(text: str) -> str:
    """A text on one line of a message, cut where it is long."""
    line = " ".join(text.split())
    return line if len(line) <= 120 else f"{line[:80]}…{line[-30:]}"


def first_repeated(names: Iterable[str]) -> str | None:
    """The first name that occurs a second time, None if all differ."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None
