"""ONNX Runtime: the one place that creates its sessions."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from itr_deploy.bundle.store import Bundle
from itr_deploy.errors import SetupError, UsageError
from itr_deploy.runtime.backends.base import Arrays

if TYPE_CHECKING:
    import onnxruntime

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}

_pool_lock = threading.Lock()
_pool_threads: int | None = None


class OnnxRuntimeBackend:
    """Sessions over a bundle's graphs, created on first use and kept.

    All of them share one thread pool, ONNX Runtime's global one. Other sessions of the same
    process must then be created with ``SessionOptions.use_per_session_threads = False`` too.
    """

    def __init__(self, bundle: Bundle, device: str = "cpu", threads: int | None = None) -> None:
        """Check the device and the thread pool; no graph is loaded yet.

        Args:
            bundle: The opened bundle.
            device: ``"cpu"`` or ``"cuda"``.
            threads: Threads of the pool that all sessions of this process share; the first
                backend of a process decides. None takes every core this process may use.

        Raises:
            SetupError: onnxruntime is not installed, or has not the device's provider.
            UsageError: The device is not one of those named.
        """
        self._runtime = import_onnxruntime()
        self._bundle = bundle
        self.device = device
        self._provider = _provider(self._runtime, device)
        self._threads = _shared_pool(self._runtime, threads)
        self._sessions: dict[str, onnxruntime.InferenceSession] = {}
        self._lock = threading.Lock()

    @property
    def description(self) -> str:
        """Library, version, provider and threads."""
        version = self._runtime.__version__
        return f"onnxruntime {version}, {self._provider}, {self._threads} threads"

    def run(self, graph: str, inputs: Arrays) -> dict[str, NDArray[np.float32]]:
        """See `Backend.run`.

        Raises:
            SetupError: The graph cannot be loaded on the device.
        """
        session = self._session(graph)
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, session.run(names, dict(inputs)), strict=True))

    def _session(self, graph: str) -> onnxruntime.InferenceSession:
        with self._lock:
            if graph not in self._sessions:
                self._sessions[graph] = self._create(graph)
            return self._sessions[graph]

    def _create(self, graph: str) -> onnxruntime.InferenceSession:
        info = self._bundle.manifest.graphs[graph]
        options = self._runtime.SessionOptions()
        options.use_per_session_threads = False
        options.log_severity_level = 3
        path = str(self._bundle.file(info.file))
        try:
            session = self._runtime.InferenceSession(path, options, providers=[self._provider])
        except Exception as error:
            raise SetupError(
                f"{path}: cannot be loaded by {self.description}: {str(error).splitlines()[0]}"
            ) from error
        if self._provider not in session.get_providers():
            raise SetupError(
                f"{self._provider} did not start for {path}; it has {session.get_providers()}; "
                "check the GPU's driver and libraries"
            )
        return session


def import_onnxruntime() -> Any:
    """The `onnxruntime` module.

    Raises:
        SetupError: Neither onnxruntime nor onnxruntime-gpu is installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise SetupError(
            "onnxruntime is not installed; "
            "pip install 'itr-deploy[cpu]' (or 'itr-deploy[gpu]' on a machine with an NVIDIA GPU)"
        ) from error
    return onnxruntime


def _provider(runtime: Any, device: str) -> str:
    if device not in PROVIDERS:
        raise UsageError(f"device {device!r} is unknown; known: {', '.join(PROVIDERS)}")
    provider = PROVIDERS[device]
    available = runtime.get_available_providers()
    if provider not in available:
        raise SetupError(
            f"device {device!r} needs {provider}; this onnxruntime has {', '.join(available)}; "
            "on a machine with an NVIDIA GPU: pip uninstall onnxruntime, "
            "then pip install 'itr-deploy[gpu]'"
        )
    return provider


def _shared_pool(runtime: Any, threads: int | None) -> int:
    """Set the process's thread pool once; several sessions with own pools would fight for cores."""
    global _pool_threads
    if threads is not None and (not isinstance(threads, int) or threads < 1):
        raise UsageError(f"threads={threads!r} must be a whole number, at least 1, or None")
    with _pool_lock:
        if _pool_threads is None:
            _pool_threads = threads or _cores()
            runtime.set_global_thread_pool_sizes(_pool_threads, 1)
        elif threads not in (None, _pool_threads):
            raise UsageError(
                f"threads={threads}: this process's pool has {_pool_threads} threads already, "
                "set by the first bundle that was loaded"
            )
        return _pool_threads


def _cores() -> int:
    """Cores this process may use; not every system can say which those are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
