"""The backend that runs a bundle's graphs with ONNX Runtime."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itr_deploy.bundle.modality import PAIR_SCORERS
from itr_deploy.bundle.store import AnyBundle
from itr_deploy.engines.shapes import largest
from itr_deploy.errors import BundleError, ItrDeployError, SetupError, UsageError
from itr_deploy.runtime.backends.arena import share_arena
from itr_deploy.runtime.backends.base import Arrays, Call
from itr_deploy.runtime.backends.declared import check_declared
from itr_deploy.runtime.backends.device_copies import DeviceCopies
from itr_deploy.runtime.backends.importing import import_onnxruntime
from itr_deploy.runtime.backends.ordered_pool import OrderedPool
from itr_deploy.runtime.backends.providers import CpuProvider, Provider
from itr_deploy.runtime.backends.sessions import open_bound_session
from itr_deploy.runtime.cpus import MOST_THREADS, default_threads
from itr_deploy.runtime.forks import check_process
from itr_deploy.values import shown

log = logging.getLogger(__name__)

GRAPH_ERRORS = ("InvalidArgument", "InvalidGraph", "NotImplemented", "ValueError", "TypeError")


class OnnxRuntimeBackend:
    """Sessions over a bundle's graphs, created on first use.

    On a CPU each call of a matcher graph runs on one thread, and its tiles on all threads in
    parallel: the threads wait for each other once per call, not at every operator, and a slow core
    does fewer tiles. The other graphs divide their operators among the threads.
    """

    def __init__(
        self,
        bundle: AnyBundle,
        provider: Provider | None = None,
        threads: int | None = None,
    ) -> None:
        """Check the provider; no graph is loaded yet.

        Args:
            bundle: The opened bundle.
            provider: What computes, the CPU by default.
            threads: Compute threads on the CPU; None for `default_threads`.

        Raises:
            SetupError: onnxruntime is not installed, or does not have the provider.
            UsageError: The number of threads is not valid.
        """
        if threads is not None and (type(threads) is not int or not 1 <= threads <= MOST_THREADS):
            raise UsageError(
                f"threads={shown(threads)} must be a whole number from 1 to {MOST_THREADS}, or None"
            )
        self._provider = provider or CpuProvider()
        self._runtime = import_onnxruntime(self._provider.device)
        self._bundle = bundle
        _check_listed(self._runtime, self._provider)
        self.device = self._provider.device
        self._threads = threads or default_threads()
        self.workers = self._threads if self.device == "cpu" else 1
        self._device_copies = DeviceCopies(self._copied, lambda _: None)
        self._pool = OrderedPool(self.workers)
        self._sessions: dict[str, Any] = {}
        self._large = [file for file in bundle.files.values() if not file.is_kept]
        self._profiles: Path | None = None
        self._lock = threading.Lock()

    @property
    def description(self) -> str:
        """Library, version, provider and, on the CPU, threads."""
        said = f"onnxruntime {self._runtime.__version__}, {self._provider.name}"
        return f"{said}, {self._threads} threads" if self.device == "cpu" else said

    def load(self, graph: str) -> None:
        """Create a graph's session now rather than when it is first run.

        Raises:
            SetupError: The graph cannot be loaded on the device.
        """
        self._session(graph)

    def run(self, graph: str, inputs: Arrays) -> dict[str, NDArray[np.float32]]:
        """Run one graph; safe to call from several threads.

        Raises:
            BundleError: The graph does not run on inputs that the manifest says it takes, or a file
                of the bundle was written over.
            SetupError: The graph cannot be loaded on the device, or fails there; or the process
                is a fork of one that used a backend.
        """
        session = self._session(graph)
        for file in self._large:
            # Sessions read its pages: what was cut would end the process, the rest score wrongly.
            file.check_unwritten()
        names = [output.name for output in session.get_outputs()]
        with self._errors(graph):
            if self.device == "cpu":
                return dict(zip(names, session.run(names, dict(inputs)), strict=True))
            return self._run_bound(session, names, inputs)

    def _run_bound(
        self, session: Any, names: list[str], inputs: Arrays
    ) -> dict[str, NDArray[np.float32]]:
        """Run a graph on a GPU, with what was pinned taken from its memory."""
        binding = session.io_binding()
        # Held until the run is over, since a copy lives only as long as its array.
        copies = {name: self._device_copies.copy_of(array) for name, array in inputs.items()}
        for name, array in inputs.items():
            copy = copies[name]
            if copy is None:
                binding.bind_cpu_input(name, np.ascontiguousarray(array))
            else:
                binding.bind_ortvalue_input(name, copy.on_device)
        for name in names:
            binding.bind_output(name, "cpu")
        session.run_with_iobinding(binding)
        return dict(zip(names, binding.copy_outputs_to_cpu(), strict=True))

    @contextmanager
    def _errors(self, graph: str) -> Iterator[None]:
        """Turn what ONNX Runtime raises while a graph runs into this package's errors.

        Raises:
            BundleError: The graph does not take these inputs, or its own numbers do not fit.
            SetupError: Anything else, such as too little memory.
        """
        try:
            yield
        except ItrDeployError:
            raise
        except Exception as error:
            first = (str(error) or type(error).__name__).splitlines()[0]
            # Its classes are not exported; ValueError is for inputs that it does not even look at.
            if type(error).__name__ in GRAPH_ERRORS:
                raise BundleError(
                    f"{self._bundle.path}: graph {graph} does not run on what its manifest says "
                    f"that it takes: {first}; export the bundle again"
                ) from error
            raise SetupError(f"{graph}: {self.description} failed: {first}") from error

    def run_all(self, calls: Iterable[Call]) -> Iterator[dict[str, NDArray[np.float32]]]:
        """Run many graphs, `workers` at a time; results come in the order of the calls.

        Raises:
            SetupError: A graph cannot be loaded on the device, or the process is a fork of one
                that used a backend.
        """
        check_process()
        return self._pool.run_all(self.run, calls)

    def pin(self, arrays: Iterable[NDArray[Any]]) -> None:
        """Keep GPU copies of arrays that will be used again; the CPU reads them in place."""
        if self.device != "cpu":
            self._device_copies.pin(arrays)

    def _copied(self, array: NDArray[Any]) -> Any:
        return self._runtime.OrtValue.ortvalue_from_numpy(array, self.device, 0)

    def max_size(self, graph: str, axis: str) -> int | None:
        """None for any size, unless the provider builds for a range of shapes."""
        profile = self._provider.profile(graph)
        if profile is None:
            return None
        inputs = self._bundle.manifest.graphs[graph].inputs
        return largest(axis, ((entry.shape, profile[entry.name].max) for entry in inputs))

    def profile_into(self, directory: Path) -> None:
        """Make ONNX Runtime profile every graph loaded from now on, at some cost in speed."""
        self._profiles = directory

    def end_profiles(self) -> dict[str, Path]:
        """Complete the profiles and return every loaded graph's file, in Chrome's trace format."""
        with self._lock:
            return {name: Path(session.end_profiling()) for name, session in self._sessions.items()}

    def _session(self, graph: str) -> Any:
        check_process()
        with self._lock:
            if graph not in self._sessions:
                self._sessions[graph] = self._create(graph)
                log.debug("%s: session of %s", self._bundle.path, graph)
            return self._sessions[graph]

    def _create(self, graph: str) -> Any:
        info, precision = self._bundle.manifest.graphs[graph], self._bundle.manifest.precision
        if precision == "bfloat16" and self.device == "cpu":
            raise SetupError(
                f"{self._bundle.path}: bfloat16 graphs do not run on the CPU, ONNX Runtime has no "
                'bfloat16 products there; use device="cuda" (--device cuda), or export with '
                'dtype="float32" (--dtype float32)'
            )
        options = self._runtime.SessionOptions()
        if self.device == "cpu":
            share_arena(self._runtime, options)
        alone = self.device == "cpu" and info.role in PAIR_SCORERS
        options.intra_op_num_threads = 1 if alone else self._threads
        # Threads spinning for a next operator after the last would take a core from the matcher.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        if precision != "float32":
            # Some half-precision graphs crash at the highest level.
            options.graph_optimization_level = (
                self._runtime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
            )
        options.log_severity_level = 3
        if self._profiles is not None:
            options.enable_profiling = True
            options.profile_file_prefix = str(self._profiles / graph)
        path = self._bundle.file(info.file)
        try:
            session = open_bound_session(
                self._bundle,
                graph,
                options,
                providers=self._provider.chain(graph),
                runtime=self._runtime,
            )
        except ItrDeployError:
            raise
        except Exception as error:
            said = (str(error).splitlines() or [type(error).__name__])[0]
            raise SetupError(f"{path}: cannot be loaded by {self.description}: {said}") from error
        check_declared(session, info, str(path))
        if self._provider.name not in session.get_providers():
            raise SetupError(
                f"{self._provider.name} did not start for {path}; it has "
                f"{', '.join(session.get_providers())}; itr-deploy doctor says why"
            )
        return session


def _check_listed(runtime: Any, provider: Provider) -> None:
    """Refuse a provider that this build of onnxruntime does not have.

    Raises:
        SetupError: The provider is missing.
    """
    available = runtime.get_available_providers()
    if provider.name not in available:
        raise SetupError(
            f"device {provider.device!r} needs {provider.name}; this onnxruntime has "
            f"{', '.join(available)}; on a machine with an NVIDIA GPU: pip uninstall onnxruntime, "
            "then pip install 'itr-deploy[gpu]'"
        )
