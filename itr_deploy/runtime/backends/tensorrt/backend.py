"""The backend that runs native engines."""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itr_deploy.bundle.store import AnyBundle
from itr_deploy.engines.cuda import probe
from itr_deploy.engines.files import EngineTarget
from itr_deploy.engines.fit import EngineHost
from itr_deploy.engines.library import import_library
from itr_deploy.errors import SetupError, UsageError
from itr_deploy.runtime.backends.base import Arrays, Call
from itr_deploy.runtime.backends.ordered_pool import OrderedPool
from itr_deploy.runtime.backends.tensorrt.engine import target_of
from itr_deploy.runtime.backends.tensorrt.engines import Engines
from itr_deploy.runtime.backends.tensorrt.memory import Device
from itr_deploy.runtime.forks import check_process


class TensorRTBackend:
    """Runs a bundle's engines on the first GPU that this process may use.

    Engines are loaded when first needed and stay loaded. `close` frees what they and the pinned
    arrays take on the device; so does garbage collection of the backend.
    """

    device = "cuda"

    def __init__(
        self,
        bundle: AnyBundle,
        *,
        workers: int = 1,
        cuda_graphs: bool = False,
        library: EngineTarget | None = None,
    ) -> None:
        """Check the GPU and the library; no engine is loaded yet.

        Args:
            bundle: The opened bundle.
            workers: Calls that run at a time; each takes scratch memory for the engine.
            cuda_graphs: Launch a call as a CUDA graph if its shapes are those of the call before.
            library: ``"tensorrt"`` or ``"tensorrt-rtx"``; None for the bundle's engines' own.

        Raises:
            EngineError: The bundle has no engines.
            SetupError: There is no GPU, or the library or CUDA's bindings are not installed.
            UsageError: The number of workers is not valid.
        """
        if not isinstance(workers, int) or workers < 1:
            raise UsageError(f"workers={workers!r} must be a whole number, at least 1")
        check_process()
        target = library or target_of(bundle)
        trt = import_library(target)
        state = probe()
        if state.problem is not None:
            raise SetupError(f"no GPU for {target}: {state.problem}; see itr-deploy doctor")
        gpu = state.gpus[0]
        self.workers = workers
        self.description = f"{target} {trt.__version__}, {gpu.name} ({gpu.capability})"
        device = Device()
        # If CUDA does not start, for instance because the driver is too old, the library's own
        # runtime can crash the process.
        device.destroy_stream(device.new_stream())
        self._pool = OrderedPool(workers)
        host = EngineHost(trt.__version__, gpu.capability, state.driver)
        self._engines = Engines(bundle, target, trt, host, workers, cuda_graphs, device)
        self._close = weakref.finalize(self, _close, self._engines, os.getpid())

    def run(self, graph: str, inputs: Arrays) -> dict[str, NDArray[np.float32]]:
        """Run one graph; safe to call from several threads.

        Raises:
            InputError: An input is missing, or of another type.
            EngineError: The graph's engine is missing, does not fit or fails, or a shape is outside
                its profile.
            SetupError: The GPU is out of memory, or its work fails.
        """
        check_process()
        with self._engines.worker(graph) as worker:
            return worker.run(inputs)

    def run_all(self, calls: Iterable[Call]) -> Iterator[dict[str, NDArray[np.float32]]]:
        """Run many graphs, `workers` at a time; results come in the order of the calls."""
        check_process()
        return self._pool.run_all(self.run, calls)

    def pin(self, arrays: Iterable[NDArray[Any]]) -> None:
        """Keep GPU copies of arrays that will be used again, for as long as they live.

        Raises:
            SetupError: The GPU is out of memory.
        """
        check_process()
        self._engines.resident.pin(arrays)

    def max_size(self, graph: str, axis: str) -> int | None:
        """Largest size of an axis that a graph's engine takes; None for an unknown axis.

        Raises:
            EngineError: The graph's engine is missing or does not fit.
        """
        return self._engines.loaded(graph).max_size(axis)

    def close(self) -> None:
        """Free everything on the device; the backend cannot run anything afterwards."""
        self._pool.close()
        self._close()


def _close(engines: Engines, owner: int) -> None:
    """Free what is on the device, except in a fork, where CUDA does not work."""
    if os.getpid() == owner:
        engines.close()
