"""A graph's engine: finding it in the bundle, checking it, and its inputs and outputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itr_deploy.bundle.manifest import GraphInfo
from itr_deploy.bundle.store import AnyBundle
from itr_deploy.engines.files import (
    EngineDirectory,
    EngineInfo,
    EngineTarget,
    Shape,
    check_engine_file,
    engine_directories,
)
from itr_deploy.engines.fit import EngineHost, check_fit, rebuild
from itr_deploy.engines.library import installed, logger
from itr_deploy.engines.shapes import largest
from itr_deploy.engines.tensorrt_api import TensorRT
from itr_deploy.errors import EngineError, InputError
from itr_deploy.runtime.backends.base import Arrays

TYPES = {
    "FLOAT": np.float32,
    "HALF": np.float16,
    "INT64": np.int64,
    "INT32": np.int32,
    "INT8": np.int8,
    "UINT8": np.uint8,
    "BOOL": np.bool_,
}
"""numpy types by the names of TensorRT types, whose numbers differ between versions."""


def find_engine(
    bundle: AnyBundle, graph: str, target: EngineTarget, host: EngineHost
) -> EngineDirectory:
    """The first of a bundle's directories with a fitting engine for a graph.

    Args:
        bundle: The bundle.
        graph: Name of the graph.
        target: The library whose engines are wanted.
        host: What will load and run the engine.

    Raises:
        EngineError: There is no engine, or none that fits.
    """
    problems = []
    for directory in engine_directories(bundle):
        info = directory.record.engines.get(graph)
        if info is None or info.fingerprint.target != target:
            continue
        try:
            check_fit(bundle, directory, graph, host)
            check_engine_file(directory, graph)
        except EngineError as error:
            problems.append(error)
        else:
            return directory
    if problems:
        raise problems[0]
    raise EngineError(
        f"{bundle.path}: no engine of {graph} for {target}; "
        f"build it with {rebuild(bundle, target=target)} --graphs {graph}"
    )


def build_again(bundle: AnyBundle, graph: str, info: EngineInfo) -> str:
    """The command that rebuilds a graph's engine with the same settings, for a message."""
    return f"{rebuild(bundle, info)} --graphs {graph}"


def target_of(bundle: AnyBundle) -> EngineTarget:
    """The target of a bundle's engines; with several, the first whose library is installed.

    Raises:
        EngineError: The bundle has no engines.
    """
    built = {
        info.fingerprint.target
        for directory in engine_directories(bundle)
        for info in directory.record.engines.values()
    }
    if not built:
        raise EngineError(f"{bundle.path}: has no engines; build them with {rebuild(bundle)}")
    return min(built, key=lambda target: (not installed(target), target))


@dataclass(frozen=True)
class EngineInput:
    """An input: its type, its axes (dynamic ones by name), its smallest and largest shape."""

    dtype: np.dtype[Any]
    axes: tuple[int | str, ...]
    least: Shape
    most: Shape

    @property
    def limits(self) -> dict[str, tuple[int, int]]:
        """Smallest and largest size of the dynamic axes."""
        sizes = zip(self.axes, self.least, self.most, strict=True)
        return {axis: (least, most) for axis, least, most in sizes if isinstance(axis, str)}


class LoadedEngine:
    """An engine on the device with its inputs and outputs; `Worker` runs it.

    Attributes:
        graph: The graph's name.
        engine: The library's object for the engine; absent once it is freed.
        remedy: The command that builds the engine again.
        inputs: The inputs by name.
        outputs: The outputs' types by name; their shapes follow from those of the inputs.
    """

    def __init__(
        self, graph: str, info: GraphInfo, engine: TensorRT.ICudaEngine, trt: TensorRT, remedy: str
    ) -> None:
        """Read the engine's inputs and outputs.

        Raises:
            EngineError: The engine has an input or output that this runtime does not support.
        """
        self.graph, self.remedy = graph, remedy
        self.engine = engine
        self.inputs: dict[str, EngineInput] = {}
        self.outputs: dict[str, np.dtype[Any]] = {}
        self._trt = trt
        axes = {entry.name: entry.shape for entry in info.inputs}
        for place in range(engine.num_io_tensors):
            name = engine.get_tensor_name(place)
            kind = engine.get_tensor_dtype(name).name
            if kind not in TYPES or engine.get_tensor_location(name) == trt.TensorLocation.HOST:
                raise EngineError(
                    f"{graph}: the engine has a tensor {name} of type {kind} that this runtime "
                    f"cannot give to it; build it again with {remedy} --force"
                )
            dtype = np.dtype(TYPES[kind])
            if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT:
                least, _, most = map(tuple, engine.get_tensor_profile_shape(name, 0))
                self.inputs[name] = EngineInput(dtype, axes[name], least, most)
            else:
                self.outputs[name] = dtype

    @property
    def last_error(self) -> str:
        """The library's message on its last failure."""
        said = logger(self._trt).heard.errors
        return said[-1] if said else "the library does not say why"

    def max_size(self, axis: str) -> int | None:
        """Largest size of a dynamic axis; None if no input has it."""
        return largest(axis, ((entry.axes, entry.most) for entry in self.inputs.values()))

    def checked(self, arrays: Arrays) -> dict[str, NDArray[Any]]:
        """The engine's inputs from a call's arrays, each contiguous.

        Raises:
            InputError: An input is missing, or of another type or rank.
            EngineError: A shape is outside the engine's profile.
        """
        return {name: self._checked(name, arrays) for name in self.inputs}

    def _checked(self, name: str, arrays: Arrays) -> NDArray[Any]:
        wanted = self.inputs[name]
        if name not in arrays:
            raise InputError(f"{self.graph}: its input {name} is missing")
        array = arrays[name]
        sizes = list(zip(wanted.axes, array.shape, strict=False))
        fixed = array.ndim == len(wanted.axes) and all(
            isinstance(axis, str) or axis == size for axis, size in sizes
        )
        if array.dtype != wanted.dtype or not fixed:
            raise InputError(
                f"{self.graph}: its input {name} is {array.dtype} {list(array.shape)}; expected "
                f"{wanted.dtype} [{', '.join(map(str, wanted.axes))}]"
            )
        options = []
        for axis, size in sizes:
            least, most = wanted.limits.get(str(axis), (size, size))
            if not least <= size <= most:
                options.append(f"--{'min' if size < least else 'max'}-shapes {axis}={size}")
        if options:
            raise EngineError(
                f"{self.graph}: its input {name} has shape {list(array.shape)}; the engine takes "
                f"{list(wanted.least)} to {list(wanted.most)}; build it again with {self.remedy} "
                + " ".join(options)
            )
        return np.ascontiguousarray(array)
