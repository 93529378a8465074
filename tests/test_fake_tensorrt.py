"""The stand-in for TensorRT refuses what the real library refuses or cannot survive."""

from __future__ import annotations

import gc
from pathlib import Path
from threading import Thread
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from itr_deploy.engines.tensorrt_api import TensorRT
from itr_deploy.runtime.backends.sessions import open_session
from tests.support.fake_cuda import FakeGpu
from tests.support.fake_tensorrt import ForbiddenError, fake_tensorrt, stands_in, write_plan

PROFILE = {"regions": [(1, 1, 32), (8, 36, 32), (8, 36, 32)]}


@pytest.fixture
def gpu() -> FakeGpu:
    gpu = FakeGpu()
    gpu.started = True
    return gpu


@pytest.fixture
def trt(gpu: FakeGpu) -> ModuleType:
    return fake_tensorrt("11.4", gpu)


@pytest.fixture
def runtime(trt: Any) -> Any:
    class Silent(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, msg: str) -> None:
            pass

    return trt.Runtime(Silent())


@pytest.fixture
def engine(runtime: Any, bundle: Path, tmp_path: Path) -> Any:
    plan = tmp_path / "plan"
    write_plan(plan, bundle / "graphs" / "image_encoder.onnx", "11.4", PROFILE)
    return runtime.deserialize_cuda_engine(plan.read_bytes())


def test_what_is_not_declared_or_what_a_version_lacks_is_an_attribute_error(
    gpu: FakeGpu, trt: Any, runtime: Any
) -> None:
    with pytest.raises(AttributeError, match=r"'Runtime' object has no .*'get_engine_validity'"):
        runtime.get_engine_validity(b"")
    with pytest.raises(AttributeError):
        _ = trt.BuilderFlag.FP16
    assert trt.BuilderFlag.TF32.name == "TF32"
    assert not hasattr(trt, "ComputeCapability")
    assert hasattr(fake_tensorrt("rtx-1.7", gpu), "ComputeCapability")


def test_a_member_of_an_enum_is_no_number(trt: Any) -> None:
    assert trt.TensorIOMode.INPUT not in (0, 1)


def test_a_stand_in_with_a_method_of_its_own_is_refused() -> None:
    class Context:
        def execute_v2(self) -> bool:
            return True

    with pytest.raises(TypeError, match="IExecutionContext has no execute_v2, but its stand-in"):
        stands_in(TensorRT.IExecutionContext)(Context)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [((), {}), (("regions",), {}), (("regions", (1,), 3), {}), ((1, (1,)), {}), (("x",), {"n": 1})],
)
def test_wrong_arguments_are_a_type_error(
    arguments: tuple[Any, ...], named: dict[str, Any], engine: Any
) -> None:
    context = engine.create_execution_context()
    with pytest.raises(TypeError, match=r"IExecutionContext\.set_input_shape\(\): incompatible"):
        context.set_input_shape(*arguments, **named)


def test_a_runtime_without_cuda_is_forbidden() -> None:
    trt: Any = fake_tensorrt("11.4", FakeGpu())
    with pytest.raises(ForbiddenError, match="without CUDA"):
        trt.Runtime(trt.ILogger())


def test_a_shape_outside_the_profile_is_refused(engine: Any) -> None:
    context = engine.create_execution_context()
    assert context.set_input_shape("regions", (8, 3, 32))
    assert not context.set_input_shape("regions", (9, 3, 32))
    assert not context.set_input_shape("regions", (8, 32))
    assert not context.set_input_shape("image", (8, 3, 32))


def test_a_run_without_all_addresses_is_forbidden(gpu: FakeGpu, engine: Any) -> None:
    context = engine.create_execution_context()
    context.set_input_shape("regions", (2, 3, 32))
    context.set_tensor_address("regions", gpu.allocate(4 * 2 * 3 * 32))
    with pytest.raises(ForbiddenError, match="without all addresses"):
        context.execute_async_v3(int(gpu.new_stream()))


def test_a_context_of_two_threads_is_forbidden(gpu: FakeGpu, engine: Any) -> None:
    context = engine.create_execution_context()
    found: list[Exception] = []

    def other() -> None:
        try:
            context.set_input_shape("regions", (2, 3, 32))
        except ForbiddenError as error:
            found.append(error)

    with context._alone():
        thread = Thread(target=other)
        thread.start()
        thread.join()
    assert len(found) == 1
    with pytest.raises(AssertionError):
        gpu.assert_clean()


def test_freeing_in_the_wrong_order_is_seen(
    trt: Any, gpu: FakeGpu, bundle: Path, tmp_path: Path
) -> None:
    plan = tmp_path / "plan"
    write_plan(plan, bundle / "graphs" / "image_encoder.onnx", "11.4", PROFILE)
    owner = trt.Runtime(trt.ILogger())
    engine = owner.deserialize_cuda_engine(plan.read_bytes())
    context = engine.create_execution_context()
    del owner
    gc.collect()
    assert gpu.violations == ["a runtime was freed before its engines"]
    del engine
    gc.collect()
    assert gpu.violations[1:] == ["an engine was freed before its contexts"]
    with pytest.raises(ForbiddenError, match="was freed"):
        context.infer_shapes()


def test_memory_that_is_left_is_seen(gpu: FakeGpu) -> None:
    gpu.allocate(10)
    with pytest.raises(AssertionError):
        gpu.assert_clean()


def test_an_engine_computes_its_graph_when_the_stream_is_synchronised(
    gpu: FakeGpu, engine: Any, bundle: Path
) -> None:
    regions = np.random.default_rng(0).standard_normal((2, 3, 32), np.float32)
    session = open_session(bundle / "graphs" / "image_encoder.onnx")
    names = [entry.name for entry in session.get_outputs()]
    wanted = dict(zip(names, session.run(names, {"regions": regions}), strict=True))
    context = engine.create_execution_context()
    assert context.set_input_shape("regions", regions.shape)
    assert context.infer_shapes() == []
    addresses = {}
    for name in ("regions", *names):
        shape = tuple(context.get_tensor_shape(name))
        addresses[name] = gpu.allocate(4 * int(np.prod(shape)))
        assert context.set_tensor_address(name, addresses[name])
    gpu.bytes_at(addresses["regions"], regions.nbytes)[:] = regions.view(np.uint8).ravel()
    stream = int(gpu.new_stream())
    assert context.execute_async_v3(stream)
    found = gpu.bytes_at(addresses["image_embedding"], wanted["image_embedding"].nbytes)
    assert not found.any()
    gpu.synchronise(stream)
    np.testing.assert_allclose(
        found.view(np.float32).reshape(wanted["image_embedding"].shape),
        wanted["image_embedding"],
        atol=1e-6,
    )
