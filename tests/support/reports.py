"""Reports that were written before they were records, and the form of any report."""

from __future__ import annotations

from typing import Any

from tests.support.golden import DATA

REPORTS = DATA / "reports"


def structure(value: Any) -> Any:
    """Keys in their order and types of values; of a list its first entry's."""
    if isinstance(value, dict):
        return [(key, structure(entry)) for key, entry in value.items()]
    if isinstance(value, list):
        return [structure(entry) for entry in value[:1]]
    return type(value).__name__
