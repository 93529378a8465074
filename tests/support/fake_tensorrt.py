"""A stand-in for TensorRT's runtime whose API is that of a recorded version.

Every call is checked against the recorded signatures: what the version lacks is an AttributeError,
wrong arguments are a TypeError, as with the real bindings. What the real library forbids raises
`ForbiddenError`. An "engine" names an ONNX graph, which ONNX Runtime computes on the fake GPU's
memory.
"""

from __future__ import annotations

import enum
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from itr_deploy.runtime.backends.sessions import open_session
from tests.support.fake_cuda import FakeGpu
from tests.support.tensorrt_api import VERSIONS, Api, Argument, Signature, api

TYPES = {
    "tensor(float)": ("FLOAT", np.float32),
    "tensor(float16)": ("HALF", np.float16),
    "tensor(int64)": ("INT64", np.int64),
    "tensor(int8)": ("INT8", np.int8),
}


class ForbiddenError(Exception):
    """What crashes the real library, or is undefined there."""


def fake_tensorrt(version: str, gpu: FakeGpu) -> ModuleType:
    """The module of a version, over a GPU."""
    about = api(version)
    module = ModuleType(about.module)
    module.__spec__ = ModuleSpec(about.module, None)
    library = vars(module)
    library["__version__"] = f"{version.removeprefix('rtx-')}.0"
    for name in _enum_names(about):
        library[name] = _enum(name, _enum_members(about, name))
    own = {"Dims": _Dims, "ICudaEngine": _Engine, "IExecutionContext": _Context}
    own |= {"ILogger": _Logger, "Logger": _Logger, "Runtime": _Runtime}
    for name in {*about.classes, *about.named} - library.keys():
        body = {"api": about, "gpu": gpu, "trt": module, "kind": name}
        made = type(name, (own.get(name, _Object),), body)
        if name in ("ILogger", "Logger"):
            made.Severity = _enum("Severity", dict.fromkeys(_SEVERITIES))  # type: ignore[attr-defined]
            for severity in made.Severity:  # type: ignore[attr-defined]
                setattr(made, severity.name, severity)
        library[name] = made
    return module


_SEVERITIES = ("INTERNAL_ERROR", "ERROR", "WARNING", "INFO", "VERBOSE")


def _enum_names(about: Api) -> set[str]:
    return {
        name for version in VERSIONS for name in api(version).enums if about.has(name) is not False
    }


def _enum_members(about: Api, name: str) -> dict[str, int]:
    """As recorded; where a version's enums are not, those of the nearest one of its generation."""
    generation = [v for v in VERSIONS if v.split(".")[0] == about.version.split(".")[0]]
    records = [about, *(api(v) for v in generation), api("rtx-1.7")]
    return next(record.enums[name] for record in records if name in record.enums)


def _enum(name: str, members: dict[str, Any]) -> Any:
    """As pybind11's: equal to itself alone, a number only by `int`."""
    numbered = {
        key: n if value is None else value for n, (key, value) in enumerate(members.items())
    }
    made = enum.Enum(name, numbered)  # type: ignore[misc]
    made.__int__ = lambda self: self.value  # type: ignore[attr-defined]
    return made


class _Object:
    """An object of a recorded class; its methods here are ``do_<name>``, ``get_<name>``."""

    api: Api
    gpu: FakeGpu
    trt: Any
    kind: str

    def __setattr__(self, name: str, value: Any) -> None:
        # A subclass in Python has attributes of its own; the bindings' classes have none.
        if not name.startswith("_") and "kind" in vars(type(self)):
            if self.api.classes.get(self.kind, {}).get(name) != "property rw":
                raise AttributeError(f"{self.kind}.{name} cannot be set")
            name = f"_{name}"
        object.__setattr__(self, name, value)

    def __getattr__(self, name: str) -> Any:
        members = self.api.classes.get(self.kind)
        if members is None or name not in members:
            raise AttributeError(
                f"'{self.api.module}.{self.kind}' object has no attribute '{name}'"
            )
        signatures = self.api.signatures(self.kind, name)
        if not signatures:
            return object.__getattribute__(self, f"read_{name}")()
        work = object.__getattribute__(self, f"do_{name}")
        return _checked(self.trt, f"{self.kind}.{name}", signatures, work)


def _checked(
    trt: Any, name: str, signatures: list[Signature], work: Callable[..., Any]
) -> Callable[..., Any]:
    def call(*given: Any, **named: Any) -> Any:
        if not any(_fits(trt, signature, given, named) for signature in signatures):
            raise TypeError(f"{name}(): incompatible function arguments: {given} {named}")
        return work(*given, **named)

    return call


def _fits(trt: Any, signature: Signature, given: tuple[Any, ...], named: dict[str, Any]) -> bool:
    arguments = signature.arguments
    if len(given) > len(arguments) or not named.keys() <= {a.name for a in arguments}:
        return False
    values = dict(zip((a.name for a in arguments), given, strict=False))
    if values.keys() & named.keys():
        return False
    values |= named
    return all(
        _suits(trt, argument, values[argument.name])
        if argument.name in values
        else not argument.required
        for argument in arguments
    )


def _suits(trt: Any, argument: Argument, value: Any) -> bool:
    simple = {"str": str, "tuple": tuple, "list": list, "bool": bool}
    if argument.kind == "SupportsInt":
        return isinstance(value, int)
    if argument.kind == "Buffer":
        return isinstance(value, (bytes, bytearray, memoryview))
    if argument.kind in simple:
        return isinstance(value, simple[argument.kind])
    known = getattr(trt, argument.kind, None)
    return known is None or isinstance(value, known)


class _Dims(_Object):
    def __init__(self, shape: tuple[int, ...]) -> None:
        self._shape = shape

    def __iter__(self) -> Iterator[int]:
        return iter(self._shape)


class _Logger(_Object):
    def __init__(self, min_severity: Any = None) -> None:
        pass

    def log(self, severity: Any, msg: str) -> None:
        raise AssertionError(f"only the logger of the package is to be used: {msg}")


class _Runtime(_Object):
    def __init__(self, logger: Any) -> None:
        self._alive = {"engines": 0}
        self._engine_host_code_allowed = False
        if not isinstance(logger, self.trt.ILogger):
            raise TypeError("Runtime(): incompatible constructor arguments")
        if not self.gpu.started:
            raise ForbiddenError("a Runtime without CUDA crashes")
        self._logger = logger

    def do_deserialize_cuda_engine(self, serialized_engine: bytes) -> Any:
        try:
            plan = json.loads(serialized_engine)
            lean = plan.get("lean", False) and self._engine_host_code_allowed
            if plan["version"] != self.trt.__version__ and not lean:
                raise ValueError("The engine plan file is not compatible with this version")
        except ValueError as error:
            self._logger.log(self.trt.ILogger.ERROR, f"deserialization failed:\n {error}")
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

    def read_num_io_tensors(self) -> int:
        return len(self._plan.inputs) + len(self._plan.outputs)

    def do_get_tensor_name(self, index: int) -> str:
        return [*self._plan.inputs, *self._plan.outputs][index]

    def do_get_tensor_mode(self, name: str) -> Any:
        modes = self.trt.TensorIOMode
        return modes.INPUT if name in self._plan.inputs else modes.OUTPUT

    def do_get_tensor_dtype(self, name: str) -> Any:
        return self.trt.DataType[TYPES[self._entry(name).type][0]]

    def do_get_tensor_location(self, name: str) -> Any:
        return self.trt.TensorLocation.DEVICE

    def do_get_tensor_profile_shape(self, name: str, profile_index: int) -> list[Any]:
        if name not in self._plan.inputs or profile_index != 0:
            raise ForbiddenError(f"{name} has no profile {profile_index}")
        return [self.trt.Dims(shape) for shape in self._plan.profile[name]]

    def do_create_execution_context(self) -> Any:
        return self.trt.IExecutionContext(self._plan)


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
        self._plan.logger.log(self.trt.ILogger.ERROR, text)
        return False

    def do_set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool:
        with self._alone():
            return profile_index == 0 and stream_handle in self.gpu.streams

    def do_set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
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

    def do_infer_shapes(self) -> list[str]:
        with self._alone():
            return [name for name in self._plan.inputs if name not in self._shapes]

    def do_get_tensor_shape(self, name: str) -> Any:
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

    def do_set_tensor_address(self, name: str, memory: int) -> bool:
        with self._alone():
            if name not in self._plan.inputs and name not in self._plan.outputs:
                return self._error(f"{name} is no tensor")
            self._addresses[name] = memory
            return True

    def do_execute_async_v3(self, stream_handle: int) -> bool:
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
    """An engine's file that the fake of a version loads.

    ``more`` may say ``fails``: it fails when it runs; and ``lean``: a version-compatible engine.
    """
    about = {"version": f"{version.removeprefix('rtx-')}.0", "graph": str(graph.resolve())}
    path.write_text(json.dumps({**about, "profile": profile, **(more or {})}), encoding="utf-8")
