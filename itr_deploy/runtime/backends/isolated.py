"""ONNX Runtime in a process of its own: a graph that crashes it gives an error, not our crash."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cache
from types import TracebackType
from typing import Any, TypeVar

from numpy.typing import NDArray

from itr_deploy.bundle.store import AnyBundle, read_any_bundle
from itr_deploy.errors import SetupError
from itr_deploy.runtime.backends.base import Arrays, Call
from itr_deploy.runtime.backends.onnxruntime import OnnxRuntimeBackend
from itr_deploy.runtime.isolated import IsolatedProcess, IsolationError

T = TypeVar("T")


class IsolatedBackend:
    """`OnnxRuntimeBackend` on the CPU, in a process that ends with this object's ``with`` block.

    Creating a session for some half-precision graphs crashes the process.
    """

    device = "cpu"
    workers = 1

    def __init__(self, bundle: AnyBundle) -> None:
        """Set up the process, which reads the bundle again from its path."""
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
        """What it runs on, human-readable."""
        from importlib.metadata import version

        return f"onnxruntime {version('onnxruntime')}, CPUExecutionProvider, in its own process"

    def load(self, graph: str) -> None:
        """Create a graph's session, without running it.

        Raises:
            SetupError: The graph cannot be loaded, or crashed the process.
        """
        self._call(_load, graph)

    def run(self, graph: str, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Run one graph in the process; arrays by name in and out.

        Raises:
            SetupError: The graph cannot be loaded, or crashed the process.
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
        """Run many graphs, one after the other; results come in the order of the calls."""
        for graph, inputs in calls:
            yield self.run(graph, inputs)

    def pin(self, arrays: Iterable[NDArray[Any]]) -> None:
        """Do nothing: every call sends its arrays to the process."""

    def max_size(self, graph: str, axis: str) -> None:
        """None: graphs take any size."""


@cache
def _backend(bundle: str) -> OnnxRuntimeBackend:
    """The process's own backend; its sessions are kept between calls."""
    return OnnxRuntimeBackend(read_any_bundle(bundle))


def _load(bundle: str, graph: str) -> None:
    _backend(bundle).load(graph)


def _run(bundle: str, graph: str, inputs: Arrays) -> dict[str, NDArray[Any]]:
    return _backend(bundle).run(graph, inputs)
