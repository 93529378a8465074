"""A stand-in for TensorRT's runtime, with the part of its API that the package declares.

Using what is not declared in `itr_deploy.engines.tensorrt_api`, or what the record of a version
lacks, is an AttributeError; wrong arguments are a TypeError, as with the real bindings. What the
real library forbids raises `ForbiddenError`. An "engine" names an ONNX graph, which ONNX Runtime
computes in the fake GPU's memory.
"""

from __future__ import annotations

import enum
import inspect
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from importlib.machinery import ModuleSpec
from operator import attrgetter
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from itr_deploy.engines.tensorrt_api import Enumeration, TensorRT
from itr_deploy.runtime.backends.sessions import open_session
from tests.support.fake_cuda import FakeGpu
from tools.tensorrt_api import recorded

TYPES = {
    "tensor(float)": ("FLOAT", np.float32),
    "tensor(float16)": ("HALF", np.float16),
    "tensor(int64)": ("INT64", np.int64),
    "tensor(int8)": ("INT8", np.int8),
}
OTHERS = {"TensorIOMode": ("OUTPUT",), "TensorLocation": ("DEVICE",)}
"""Enum members that the stand-in returns but the package does not declare."""
ARGUMENTS = {"int": int, "str": str, "bytes": (bytes, bytearray), "tuple[int, ...]": tuple}


class ForbiddenError(Exception):
    """A use that crashes the real library, or is undefined there."""


def fake_tensorrt(version: str, gpu: FakeGpu) -> ModuleType:
    """The module of a TensorRT version, running on the given fake GPU."""
    module = ModuleType("tensorrt_rtx" if version.startswith("rtx") else "tensorrt")
    module.__spec__ = ModuleSpec(module.__name__, None)
    library = vars(module)
    library["__version__"] = f"{version.removeprefix('rtx-')}.0"
    has = recorded(version)
    for name, declared in vars(TensorRT).items():
        if name in has and issubclass(declared, Enumeration):
            members = [m for m in inspect.get_annotations(declared) if f"{name}.{m}" in has]
            library[name] = enum.Enum(name, [*members, *OTHERS.get(name, ())])  # type: ignore[misc]
        elif name in has and name in FAKES:
            library[name] = type(name, (FAKES[name],), {"gpu": gpu, "trt": module})
    return module


FAKES: dict[str, type] = {}


def stands_in(declared: type) -> Callable[[type], type]:
    """Decorate a class's stand-in: it has the declared members and arguments, and no others."""

    def decorate(fake: type) -> type:
        known = vars(declared) | inspect.get_annotations(declared)
        for name, work in list(vars(fake).items()):
            if name not in known and not name.startswith("_") and not isinstance(work, type):
                raise TypeError(f"{declared.__name__} has no {name}, but its stand-in has")
            if inspect.isfunction(work) and inspect.isfunction(known.get(name)):
                setattr(fake, name, _checked(f"{declared.__name__}.{name}", known[name], work))
        FAKES[declared.__name__] = fake
        return fake

    return decorate


def _checked(name: str, declared: Callable[..., Any], work: Callable[..., Any]) -> Any:
    signature = inspect.signature(declared)

    @wraps(work)
    def call(self: Any, *given: Any, **named: Any) -> Any:
        try:
            values = signature.bind(self, *given, **named).arguments
        except TypeError as error:
            raise TypeError(f"{name}(): incompatible function arguments: {error}") from None
        for argument, value in list(values.items())[1:]:
            kind = signature.parameters[argument].annotation.split(" | ")[0]
            wanted = ARGUMENTS.get(kind) or attrgetter(kind.removeprefix("TensorRT."))(self.trt)
            if not isinstance(value, wanted):
                raise TypeError(f"{name}(): incompatible function arguments: {argument}={value!r}")
        return work(self, *given, **named)

    return call


class _Object:
    gpu: FakeGpu
    trt: Any


@stands_in(TensorRT.Dims)
class _Dims(_Object):
    """Not a tuple, like the real ones."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._shape = shape

    def __iter__(self) -> Iterator[int]:
        return iter(self._shape)


@stands_in(TensorRT.ILogger)
class _Logger(_Object):
    class Severity(enum.Enum):
        INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)

    def log(self, severity: Any, msg: str) -> None:
        raise AssertionError(f"only the logger of the package is to be used: {msg}")


@stands_in(TensorRT.Runtime)
class _Runtime(_Object):
    engine_host_code_allowed = False
    _alive: Mapping[str, int] = {"engines": 0}

    def __init__(self, logger: Any) -> None:
        self._alive = {"engines": 0}
        if not self.gpu.started:
            raise ForbiddenError("a Runtime without CUDA crashes")
        self._logger = logger

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> Any:
        try:
            plan = json.loads(serialized_engine)
            lean = plan.get("lean", False) and self.engine_host_code_allowed
            if plan["version"] != self.trt.__version__ and not lean:
                raise ValueError("The engine plan file is not compatible with this version")
        except ValueError as error:
            text = f"deserialization failed:\n {error}"
            self._logger.log(self.trt.ILogger.Severity.ERROR, text)
            return None
        return self.trt.ICudaEngine(plan, self._logger, self._alive)

    def __del__(self) -> None:
        if self._alive["engines"]:
            self.gpu.violations.append("a runtime was freed before its engines")


class _Plan:
    """What an engine's contexts share; it outlives the engine so that misuse can be seen."""

    def __init__(self, plan: dict[str, Any], logger: Any) -> None:
        self.logger = logger
        self.session = open_session(plan["graph"])
        self.profile = {
            name: [tuple(s) for s in shapes] for name, shapes in plan["profile"].items()
        }
        self.inputs = {entry.name: entry for entry in self.session.get_inputs()}
        self.outputs = {entry.name: entry for entry in self.session.get_outputs()}
        self.contexts = 0
        self.freed = False
        self.fails = plan.get("fails", False)


@stands_in(TensorRT.ICudaEngine)
class _Engine(_Object):
    def __init__(self, plan: dict[str, Any], logger: Any, alive: dict[str, int]) -> None:
        self._plan = _Plan(plan, logger)
        self._alive = alive
        alive["engines"] += 1

    def __del__(self) -> None:
        self._alive["engines"] -= 1
        self._plan.freed = True
        if self._plan.contexts:
            self.gpu.violations.append("an engine was freed before its contexts")

    def _entry(self, name: str) -> Any:
        return (self._plan.inputs | self._plan.outputs)[name]

    @property
    def num_io_tensors(self) -> int:
        return len(self._plan.inputs) + len(self._plan.outputs)

    def get_tensor_name(self, index: int) -> str:
        return [*self._plan.inputs, *self._plan.outputs][index]

    def get_tensor_mode(self, name: str) -> Any:
        modes = self.trt.TensorIOMode
        return modes.INPUT if name in self._plan.inputs else modes.OUTPUT

    def get_tensor_dtype(self, name: str) -> Any:
        return self.trt.DataType[TYPES[self._entry(name).type][0]]

    def get_tensor_location(self, name: str) -> Any:
        return self.trt.TensorLocation.DEVICE

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[Any]:
        if name not in self._plan.inputs or profile_index != 0:
            raise ForbiddenError(f"{name} has no profile {profile_index}")
        return [self.trt.Dims(shape) for shape in self._plan.profile[name]]

    def create_execution_context(self) -> Any:
        return self.trt.IExecutionContext(self._plan)


@stands_in(TensorRT.IExecutionContext)
class _Context(_Object):
    def __init__(self, plan: _Plan) -> None:
        self._plan = plan
        self._busy = threading.Lock()
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._addresses: dict[str, int] = {}
        plan.contexts += 1

    def __del__(self) -> None:
        self._plan.contexts -= 1

    @contextmanager
    def _alone(self) -> Iterator[None]:
        if not self._busy.acquire(blocking=False):
            self.gpu.violations.append("a context was used by two threads at once")
            raise ForbiddenError(self.gpu.violations[-1])
        try:
            if self._plan.freed:
                raise ForbiddenError("the engine of this context was freed")
            yield
        finally:
            self._busy.release()

    def _error(self, text: str) -> bool:
        self._plan.logger.log(self.trt.ILogger.Severity.ERROR, text)
        return False

    def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool:
        with self._alone():
            return profile_index == 0 and stream_handle in self.gpu.streams

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        with self._alone():
            if name not in self._plan.inputs:
                return self._error(f"{name} is no input")
            least, _, most = self._plan.profile[name]
            if len(shape) != len(most) or not all(
                a <= b <= c for a, b, c in zip(least, shape, most, strict=True)
            ):
                return self._error(f"{name}: {shape} is outside the profile")
            self._shapes[name] = tuple(shape)
            return True

    def infer_shapes(self) -> list[str]:
        with self._alone():
            return [name for name in self._plan.inputs if name not in self._shapes]

    def get_tensor_shape(self, name: str) -> Any:
        with self._alone():
            return self.trt.Dims(self._shape_of(name))

    def _shape_of(self, name: str) -> tuple[int, ...]:
        if name in self._shapes:
            return self._shapes[name]
        sizes = {
            axis: size
            for entry, shape in self._shapes.items()
            for axis, size in zip(self._plan.inputs[entry].shape, shape, strict=True)
        }
        axes = self._plan.outputs[name].shape
        return tuple(sizes.get(axis, -1) if isinstance(axis, str) else axis for axis in axes)

    def set_tensor_address(self, name: str, memory: int) -> bool:
        with self._alone():
            if name not in self._plan.inputs and name not in self._plan.outputs:
                return self._error(f"{name} is no tensor")
            self._addresses[name] = memory
            return True

    def execute_async_v3(self, stream_handle: int) -> bool:
        with self._alone():
            wanted = {*self._plan.inputs, *self._plan.outputs}
            if wanted - self._addresses.keys() or self._plan.inputs.keys() - self._shapes.keys():
                raise ForbiddenError("executed without all addresses and shapes")
            if self._plan.fails:
                return self._error("Error Code 1: a kernel failed")
            addresses = dict(self._addresses)
            shapes = {name: self._shape_of(name) for name in wanted}
            self.gpu.later(stream_handle, lambda: self._compute(addresses, shapes))
            return True

    def _compute(self, addresses: dict[str, int], shapes: dict[str, tuple[int, ...]]) -> None:
        entries = self._plan.inputs | self._plan.outputs
        memory = {}
        for name, shape in shapes.items():
            dtype = np.dtype(TYPES[entries[name].type][1])
            size = int(np.prod(shape)) * dtype.itemsize
            memory[name] = self.gpu.bytes_at(addresses[name], size).view(dtype).reshape(shape)
        given = {name: memory[name].copy() for name in self._plan.inputs}
        results = self._plan.session.run(list(self._plan.outputs), given)
        for name, value in zip(self._plan.outputs, results, strict=True):
            memory[name][:] = value


def write_plan(
    path: Path,
    graph: Path,
    version: str,
    profile: dict[str, Any],
    more: Mapping[str, Any] | None = None,
) -> None:
    """An engine's file that the fake of a version can load.

    ``more`` may contain ``fails``, for an engine that fails when it runs, and ``lean``, for a
    version-compatible one.
    """
    about = {"version": f"{version.removeprefix('rtx-')}.0", "graph": str(graph.resolve())}
    path.write_text(json.dumps({**about, "profile": profile, **(more or {})}), encoding="utf-8")
