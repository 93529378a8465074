"""The protocol of a backend."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[Any]]


class Backend(Protocol):
    """Runs a bundle's graphs by name: named arrays in, named arrays out."""

    @property
    def device(self) -> str:
        """``"cpu"`` or ``"cuda"``."""
        ...

    @property
    def description(self) -> str:
        """What it runs on, for people."""
        ...

    def run(self, graph: str, inputs: Arrays) -> dict[str, NDArray[np.float32]]:
        """Run one graph; safe to call from several threads.

        Args:
            graph: Its name in the manifest.
            inputs: Every input of the graph, in the manifest's dtypes and axes.
        """
        ...
