"""What there is on this machine, each asked for once."""

from __future__ import annotations

from functools import cached_property
from importlib.util import find_spec
from typing import Any

from itr_deploy.diagnosis.attempt import TIMEOUT, Attempt, attempt
from itr_deploy.diagnosis.libraries import describe_onnxruntime, installed, version_of
from itr_deploy.diagnosis.providers import why_not_started
from itr_deploy.engines.cuda import CudaState, probe
from itr_deploy.engines.files import EngineTarget
from itr_deploy.engines.library import MODULES


class Machine:
    """Driver, GPUs and libraries. What may crash is loaded in another process."""

    def __init__(self, timeout: float = TIMEOUT) -> None:
        """Take the seconds that a library may need to load."""
        self.timeout = timeout
        self._libraries: dict[EngineTarget, Attempt[str] | None] = {}
        self._providers: dict[str, str | None] = {}

    @cached_property
    def cuda(self) -> CudaState:
        """What the CUDA driver says."""
        return probe()

    @property
    def no_gpu(self) -> str | None:
        """Why there is no GPU to use; None where there is one, or where it cannot be known."""
        known = installed("cuda-bindings") is not None
        return self.cuda.problem if known else None

    @cached_property
    def onnxruntime(self) -> Attempt[dict[str, Any]] | None:
        """Its ``version`` and ``providers``, those it lists; None where it is not installed."""
        if find_spec("onnxruntime") is None:
            return None
        return attempt(describe_onnxruntime, timeout=self.timeout)

    @property
    def providers(self) -> tuple[str, ...]:
        """The providers that ONNX Runtime lists; none where it does not load."""
        told = self.onnxruntime
        return () if told is None or told.answer is None else tuple(told.answer["providers"])

    def why_not_started(self, provider: str) -> str | None:
        """Why a provider that ONNX Runtime lists does not start; None if it does."""
        if provider not in self._providers:
            self._providers[provider] = why_not_started(provider, self.timeout)
        return self._providers[provider]

    def library(self, target: EngineTarget) -> Attempt[str] | None:
        """The version of a target's library; None where it is not installed."""
        if target not in self._libraries:
            name = MODULES[target]
            there = find_spec(name) is not None
            tried = attempt(version_of, name, timeout=self.timeout) if there else None
            self._libraries[target] = tried
        return self._libraries[target]
