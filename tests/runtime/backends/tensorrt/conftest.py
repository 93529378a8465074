"""A GPU and a TensorRT version that stand in for real ones, and engines for them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from itr_deploy.bundle.store import read_bundle
from itr_deploy.engines import library as tensorrt_library
from itr_deploy.runtime.backends.tensorrt import TensorRTBackend
from tests.support.fake_cuda import FakeGpu, bindings
from tests.support.fake_engines import write_engines
from tests.support.fake_tensorrt import fake_tensorrt


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Callable[..., FakeGpu]:
    """Put a version of the library, a GPU and CUDA's bindings in the place of real ones."""

    def put(version: str, gpu: FakeGpu | None = None) -> FakeGpu:
        gpu = gpu or FakeGpu()
        module = fake_tensorrt(version, gpu)
        modules = {"tensorrt": None, "tensorrt_rtx": None, **bindings(gpu), module.__name__: module}
        # The logger of a library is one for the process.
        monkeypatch.setattr(tensorrt_library, "_loggers", {})
        for name, value in modules.items():
            monkeypatch.setitem(sys.modules, name, value)
        return gpu

    return put


@pytest.fixture
def start(
    install: Callable[..., FakeGpu], bundle_copy: Path
) -> Callable[..., tuple[TensorRTBackend, FakeGpu]]:
    """A backend over a copy of the small bundle with engines, and its GPU."""

    def make(
        version: str = "11.4",
        gpu: FakeGpu | None = None,
        workers: int = 1,
        cuda_graphs: bool = False,
        **engines: Any,
    ) -> tuple[TensorRTBackend, FakeGpu]:
        gpu = install(version, gpu)
        write_engines(bundle_copy, version, **engines)
        bundle = read_bundle(bundle_copy)
        return TensorRTBackend(bundle, workers=workers, cuda_graphs=cuda_graphs), gpu

    return make
