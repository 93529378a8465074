"""What this machine has; each thing is queried once.

Whatever may crash is loaded in a separate process: ONNX Runtime, its providers, TensorRT.
"""

from __future__ import annotations

import base64
import re
from functools import cached_property
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

from itr_deploy.engines.cuda import CudaState, probe
from itr_deploy.engines.files import EngineTarget
from itr_deploy.engines.library import MODULES
from itr_deploy.runtime.isolated import TIMEOUT, Outcome, isolated

CPU, CUDA, TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"
PROVIDERS = (CPU, CUDA, TENSORRT)
"""The providers that our backends use."""

# Made by onnx.helper: make_model(make_graph([make_node("Add", ["x", "x"], ["y"])], "d", ...),
# opset_imports=[make_opsetid("", 20)], ir_version=9), with x and y float32 [4].
DOUBLING = base64.b64decode(
    "CAk6NQoOCgF4CgF4EgF5IgNBZGQSAWRaDwoBeBIKCggIARIECgIIBGIPCgF5EgoKCAgBEgQKAggEQgQKABAU"
)
"""An ONNX model: ``y = x + x`` of ``float32 [4]``."""
GIVEN = (0.5, -1.0, 2.0, 3.25)

COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class Machine:
    """Driver, GPUs and libraries. Whatever may crash is loaded in another process."""

    def __init__(self, timeout: float = TIMEOUT) -> None:
        """Set the seconds that a library may take to load."""
        self.timeout = timeout
        self._libraries: dict[EngineTarget, Outcome[str] | None] = {}
        self._providers: dict[str, str | None] = {}

    @cached_property
    def cuda(self) -> CudaState:
        """What the CUDA driver reports."""
        return probe()

    @property
    def no_gpu(self) -> str | None:
        """Why no GPU can be used; None if one can, or if that is unknown."""
        known = installed("cuda-bindings") is not None
        return self.cuda.problem if known else None

    @cached_property
    def onnxruntime(self) -> Outcome[dict[str, Any]] | None:
        """Its ``version`` and the ``providers`` that it lists; None if it is not installed."""
        if find_spec("onnxruntime") is None:
            return None
        return isolated(describe_onnxruntime, timeout=self.timeout)

    @property
    def providers(self) -> tuple[str, ...]:
        """The providers that ONNX Runtime lists; empty if it does not load."""
        told = self.onnxruntime
        return () if told is None or told.answer is None else tuple(told.answer["providers"])

    def why_not_started(self, provider: str) -> str | None:
        """Why a provider that ONNX Runtime lists does not start; None if it does."""
        if provider not in self._providers:
            self._providers[provider] = why_not_started(provider, self.timeout)
        return self._providers[provider]

    def library(self, target: EngineTarget) -> Outcome[str] | None:
        """The version of a target's library; None if it is not installed."""
        if target not in self._libraries:
            name = MODULES[target]
            there = find_spec(name) is not None
            tried = isolated(version_of, name, timeout=self.timeout) if there else None
            self._libraries[target] = tried
        return self._libraries[target]


def installed(distribution: str) -> str | None:
    """Version of a distribution, None if it is not installed. Nothing of it is imported."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def describe_onnxruntime() -> dict[str, Any]:
    """Import ONNX Runtime and return its ``version`` and the ``providers`` that it lists."""
    from itr_deploy.runtime.backends.importing import load_onnxruntime

    onnxruntime = load_onnxruntime()
    return {
        "version": onnxruntime.__version__,
        "providers": onnxruntime.get_available_providers(),
    }


def version_of(module: str) -> str:
    """Import a module and return its version."""
    return str(import_module(module).__version__)


def why_not_started(provider: str, timeout: float) -> str | None:
    """Start a provider in another process; None if it computes correctly, else why not."""
    tried = isolated(doubled, provider, timeout=timeout)
    if tried.answer is None:
        return tried.problem
    providers, values = tried.answer
    if provider not in providers:
        return _first_error(tried.log)
    expected = [2 * value for value in GIVEN]
    if values != expected:
        return f"it computes wrong values: {values} instead of {expected}"
    return None


def doubled(provider: str) -> tuple[list[str], list[float]]:
    """The providers of a session that requested ``provider``, and its result for `GIVEN`."""
    import numpy as np

    from itr_deploy.engines.library import import_library, installed
    from itr_deploy.runtime.backends.importing import import_onnxruntime
    from itr_deploy.runtime.backends.sessions import open_session

    if provider.startswith("Tensorrt") and installed("tensorrt"):
        import_library("tensorrt")
    runtime = import_onnxruntime("cpu" if provider.startswith("CPU") else "cuda")
    session = open_session(
        DOUBLING, runtime.SessionOptions(), providers=[provider], fallback=True, runtime=runtime
    )
    (values,) = session.run(["y"], {"x": np.array(GIVEN, np.float32)})
    return session.get_providers(), values.tolist()


def _first_error(log: str) -> str:
    """ONNX Runtime's first error, without colours, time and source location."""
    lines = [COLOUR.sub("", line).strip() for line in log.splitlines()]
    errors = [line for line in lines if "[E:onnxruntime" in line]
    first = next(filter(None, errors or lines), "onnxruntime does not say why")
    return first.rpartition("FAIL : ")[2]
