"""Reports from before they became records, and the structure of any report."""

from __future__ import annotations

from typing import Any

from tests.support.golden import DATA

REPORTS = DATA / "reports"


def structure(value: Any) -> Any:
    """Keys in order and the types of their values; for a list, those of its first entry."""
    if isinstance(value, dict):
        return [(key, structure(entry)) for key, entry in value.items()]
    if isinstance(value, list):
        return [structure(entry) for entry in value[:1]]
    return type(value).__name__
