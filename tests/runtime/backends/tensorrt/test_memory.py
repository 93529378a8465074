"""Device memory, with the stand-in for CUDA and with the real bindings but no driver."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from itr_deploy.engines.cuda import probe
from itr_deploy.errors import SetupError
from itr_deploy.runtime.backends.tensorrt import memory
from itr_deploy.runtime.backends.tensorrt.memory import Device
from itr_deploy.runtime.backends.tensorrt.pool import BufferPool, Lease
from tests.support.fake_cuda import FakeGpu, bindings


@pytest.fixture
def gpu(install: Callable[..., FakeGpu]) -> FakeGpu:
    return install("11.4")


def test_what_is_copied_there_comes_back(gpu: FakeGpu) -> None:
    device, given, back = Device(), np.arange(10.0), np.zeros(10)
    stream, address = device.new_stream(), device.allocate(given.nbytes)
    device.upload(address, given, stream)
    device.download(back, address, stream)
    assert not back.any()
    device.synchronise(stream)
    np.testing.assert_array_equal(back, given)
    device.free(address)
    device.destroy_stream(stream)
    gpu.assert_clean()


def test_use_after_free_is_one_clear_line(gpu: FakeGpu) -> None:
    device = Device()
    stream, address = device.new_stream(), device.allocate(80)
    device.free(address)
    device.upload(address, np.zeros(10), stream)
    with pytest.raises(SetupError, match="the GPU cannot finish its work: cudaErrorIllegalAddress"):
        device.synchronise(stream)
    with pytest.raises(SetupError, match="the GPU cannot free memory: cudaErrorInvalidValue: text"):
        device.free(address)


def test_buffers_are_used_again_by_size(gpu: FakeGpu) -> None:
    device = Device()
    pool, stream = BufferPool(device), device.new_stream()
    with Lease(pool, device, stream) as lease:
        first = [lease.buffer(size) for size in (0, 1000, 1025, 1024)]
    with Lease(pool, device, stream) as lease:
        again = [lease.buffer(size) for size in (256, 600, 2048, 513)]
    assert again == first
    assert len(set(first)) == 4
    assert gpu.used == 256 + 1024 + 2048 + 1024
    pool.clear()
    assert gpu.used == 0


def test_the_first_error_is_told_and_not_the_one_after_it(gpu: FakeGpu) -> None:
    device = Device()
    pool, stream = BufferPool(device), device.new_stream()

    def work() -> None:
        with Lease(pool, device, stream) as lease:
            lease.buffer(8)
            device.destroy_stream(stream)
            raise ValueError("first")

    with pytest.raises(ValueError, match="first"):
        work()


def test_without_a_driver_the_real_bindings_give_one_clear_line() -> None:
    pytest.importorskip("cuda.bindings.runtime")
    if probe().problem is None:
        pytest.skip("there is a GPU")
    device = Device()
    with pytest.raises(SetupError) as caught:
        device.allocate(10)
    assert "the GPU cannot allocate memory: cudaErrorInsufficientDriver: CUDA driver" in str(
        caught.value
    )
    assert "\n" not in str(caught.value)


def test_without_the_bindings_the_line_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cuda.bindings", None)
    with pytest.raises(SetupError, match="cuda-bindings is not installed; pip install"):
        Device()


def test_every_cuda_name_is_in_the_real_bindings_and_in_the_stand_in() -> None:
    real = pytest.importorskip("cuda.bindings.runtime")
    fake = bindings(FakeGpu())["cuda.bindings.runtime"]
    tree = ast.parse(Path(memory.__file__).read_text(encoding="utf-8"))
    used = [
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Attribute)
        and node.value.attr == "_cudart"
    ]
    assert len(set(used)) > 6
    for name in used:
        assert hasattr(real, name), name
        assert hasattr(fake, name), name
    for kind in ("cudaError_t", "cudaMemcpyKind", "cudaStreamCaptureMode"):
        values = getattr(real, kind).__members__
        for name, value in getattr(fake, kind).__members__.items():
            assert int(values[name]) == int(value), name
