"""ONNX Runtime in a process of its own: a graph that crashes it is an error, not our end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cache
from types import TracebackType
from typing import Any, TypeVar

from numpy.typing import NDArray

from itr_deploy.bundle.store import Bundle, read_bundle
from itr_deploy.errors import SetupError
from itr_deploy.runtime.backends.base import Arrays, Call
from itr_deploy.runtime.backends.onnxruntime import OnnxRuntimeBackend
from itr_deploy.runtime.isolated import IsolatedProcess, IsolationError

T = TypeVar("T")


class IsolatedBackend:
    """`OnnxRuntimeBackend` on the CPU, in a process that ends with this object's block.

    Creating a session on some half-precision graphs ends the process that does it.
    """

    device = "cpu"
    workers = 1

    def __init__(self, bundle: Bundle) -> None:
        """Take the opened bundle; the process reads it again by its path."""
        self._bundle = bundle
        self._process = IsolatedProcess()

    def __enter__(self) -> IsolatedBackend:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.__exit__(kind, error, trace)

    @property
    def description(self) -> str:
        """What it runs on, for people."""
        from importlib.metadata import version

        return f"onnxruntime {version('onnxruntime')}, CPUExecutionProvider, in its own process"

    def load(self, graph: str) -> None:
        """Create a graph's session, without running it.

        Raises:
            SetupError: The graph cannot be loaded, or ended the process.
        """
        self._call(_load, graph)

    def run(self, graph: str, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """See `Backend.run`.

        Raises:
            SetupError: The graph cannot be loaded, or ended the process.
        """
        return self._call(_run, graph, dict(inputs))

    def _call(self, function: Callable[..., T], graph: str, *arguments: Any) -> T:
        try:
            return self._process.call(function, str(self._bundle.path), graph, *arguments)
        except IsolationError as error:
            raise SetupError(
                f"ONNX Runtime failed on graph {graph}: {error}; "
                "export the bundle in float32, or try another version of onnxruntime"
            ) from error

    def run_all(self, calls: Iterable[Call]) -> Iterator[dict[str, NDArray[Any]]]:
        """See `Backend.run_all`."""
        for graph, inputs in calls:
            yield self.run(graph, inputs)

    def pin(self, arrays: Iterable[NDArray[Any]]) -> None:
        """See `Backend.pin`: every call sends its arrays."""

    def max_size(self, graph: str, axis: str) -> None:
        """See `Backend.max_size`: any size."""


@cache
def _backend(bundle: str) -> OnnxRuntimeBackend:
    """The process's own; its sessions are kept from call to call."""
    return OnnxRuntimeBackend(read_bundle(bundle))


def _load(bundle: str, graph: str) -> None:
    _backend(bundle).load(graph)


def _run(bundle: str, graph: str, inputs: Arrays) -> dict[str, NDArray[Any]]:
    return _backend(bundle).run(graph, inputs)
