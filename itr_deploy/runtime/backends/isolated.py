"""ONNX Runtime in a process of its own: a graph that crashes it is an error, not our end."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itr_deploy.bundle.store import Bundle
from itr_deploy.errors import SetupError
from itr_deploy.runtime.backends.base import Arrays, Call
from itr_deploy.runtime.backends.child import ERROR, LOAD, RUN, receive, send


class IsolatedBackend:
    """`OnnxRuntimeBackend` on the CPU, in a child process that ends with this object's block.

    Creating a session on some half-precision graphs ends the process that does it.
    """

    device = "cpu"
    workers = 1

    def __init__(self, bundle: Bundle) -> None:
        """Start the child."""
        command = [sys.executable, "-m", "itr_deploy.runtime.backends.child", str(bundle.path)]
        pipe = subprocess.PIPE
        self._child = subprocess.Popen(command, stdin=pipe, stdout=pipe)  # noqa: S603
        self._lock = threading.Lock()

    def __enter__(self) -> IsolatedBackend:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._child.kill()
        self._child.communicate()

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
        self._ask({LOAD: np.array(graph)}, graph)

    def run(self, graph: str, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """See `Backend.run`.

        Raises:
            SetupError: The graph cannot be loaded, or ended the process.
        """
        return self._ask({RUN: np.array(graph), **inputs}, graph)

    def _ask(self, request: Arrays, graph: str) -> dict[str, NDArray[Any]]:
        stdin, stdout = self._child.stdin, self._child.stdout
        assert stdin is not None
        assert stdout is not None
        with self._lock:
            try:
                send(stdin, request)
                outputs = receive(stdout)
            except BrokenPipeError:
                outputs = None
        if outputs is None:
            code = self._child.wait()
            raise SetupError(
                f"ONNX Runtime ended its process (exit code {code}) on graph {graph}; "
                "export the bundle in float32, or try another version of onnxruntime"
            )
        if ERROR in outputs:
            raise SetupError(str(outputs[ERROR]))
        return outputs

    def run_all(self, calls: Iterable[Call]) -> Iterator[dict[str, NDArray[Any]]]:
        """See `Backend.run_all`."""
        for graph, inputs in calls:
            yield self.run(graph, inputs)

    def pin(self, arrays: Iterable[NDArray[Any]]) -> None:
        """See `Backend.pin`: every call sends its arrays."""

    def max_size(self, graph: str, axis: str) -> None:
        """See `Backend.max_size`: any size."""
