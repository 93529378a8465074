"""The family that an export names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from itr_deploy.values import one_of


class Named(Protocol):
    """What is registered under a name."""

    @property
    def name(self) -> str:
        """The name."""
        ...


T = TypeVar("T", bound=Named)


def family_named(name: str, registered: Sequence[T]) -> T:
    """The family or re-ranker that is registered under a name.

    Raises:
        UsageError: There is none.
    """
    known = {entry.name: entry for entry in registered}
    return known[one_of(tuple(known))("family", name)]
