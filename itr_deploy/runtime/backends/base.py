"""The protocol of a backend."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[Any]]
Call = tuple[str, Arrays]
"""A graph's name in the manifest, and all its inputs."""


class Backend(Protocol):
    """Runs a bundle's graphs by name: named arrays in, named arrays out."""

    @property
    def device(self) -> str:
        """``"cpu"`` or ``"cuda"``."""
        ...

    @property
    def workers(self) -> int:
        """How many calls `run_all` makes at a time."""
        ...

    @property
    def description(self) -> str:
        """What it runs on, human-readable."""
        ...

    def run(self, graph: str, inputs: Arrays) -> dict[str, NDArray[np.float32]]:
        """Run one graph; safe to call from several threads.

        Args:
            graph: Its name in the manifest.
            inputs: Every input of the graph, in the manifest's dtypes and axes.
        """
        ...

    def run_all(self, calls: Iterable[Call]) -> Iterator[dict[str, NDArray[np.float32]]]:
        """Run many graphs, `workers` at a time; results come in the order of the calls.

        Calls are taken from the iterable a few ahead of the results.
        """
        ...

    def pin(self, arrays: Iterable[NDArray[Any]]) -> None:
        """Announce that these arrays will be used again, unchanged, in later calls.

        A backend with memory of its own keeps copies of them for as long as they live.
        """
        ...

    def max_size(self, graph: str, axis: str) -> int | None:
        """Largest size that a graph takes for a dynamic axis; None if it takes any.

        Args:
            graph: Its name in the manifest.
            axis: The axis's name in the shapes of its inputs.
        """
        ...
