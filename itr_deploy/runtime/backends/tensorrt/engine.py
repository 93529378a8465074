"""A graph's engine: found among the bundle's, checked, loaded, and what it takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itr_deploy.bundle.engines import (
    EngineDirectory,
    EngineTarget,
    Shape,
    check_engine_file,
    check_fit,
    engine_directories,
)
from itr_deploy.bundle.store import Bundle
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
"""numpy's types by the names of TensorRT's; their numbers differ between versions."""


def find_engine(
    bundle: Bundle, graph: str, target: EngineTarget, version: str, capability: str
) -> EngineDirectory:
    """The first of a bundle's directories with an engine of a graph that fits.

    Args:
        bundle: The bundle.
        graph: Name of the graph.
        target: Whose engines.
        version: Of the target's library.
        capability: Of the GPU.

    Raises:
        EngineError: There is none, or what is there does not fit.
    """
    problems = []
    for directory in engine_directories(bundle):
        info = directory.record.engines.get(graph)
        if info is None or info.fingerprint.target != target:
            continue
        try:
            check_fit(bundle, directory, graph, version=version, capability=capability)
            check_engine_file(directory, graph)
        except EngineError as error:
            problems.append(error)
        else:
            return directory
    if problems:
        raise problems[0]
    raise EngineError(
        f"{bundle.path}: no engine of {graph} for {target}; "
        f"build it with {build_command(bundle, graph, target)}"
    )


def build_command(bundle: Bundle, graph: str, target: EngineTarget) -> str:
    """The command that builds an engine."""
    return f"itr-deploy build-engine {bundle.path} --target {target} --graphs {graph}"


@dataclass(frozen=True)
class EngineInput:
    """An input: its type, and the smallest and largest shape that the engine takes."""

    name: str
    dtype: np.dtype[Any]
    least: Shape
    most: Shape


@dataclass(frozen=True)
class EngineOutput:
    """An output: its type. Its shape follows from those of the inputs."""

    name: str
    dtype: np.dtype[Any]


class LoadedEngine:
    """An engine on the device: what it takes and gives; `Worker` runs it."""

    def __init__(self, graph: str, engine: Any, trt: Any, logger: Any, mend: str) -> None:
        """Read the engine's inputs and outputs.

        Args:
            graph: Its graph, for messages.
            engine: What the library made of its file.
            trt: The library.
            logger: Of `make_logger`, the one that the engine was loaded with.
            mend: The command that builds it again.

        Raises:
            EngineError: It takes or gives what no graph of a bundle does.
        """
        self.graph = graph
        self.engine: Any = engine
        self._logger: Any = logger
        self.mend = mend
        self.inputs: dict[str, EngineInput] = {}
        self.outputs: dict[str, EngineOutput] = {}
        for place in range(engine.num_io_tensors):
            name = engine.get_tensor_name(place)
            kind = engine.get_tensor_dtype(name).name
            if kind not in TYPES or engine.get_tensor_location(name) == trt.TensorLocation.HOST:
                raise EngineError(
                    f"the engine of {graph} has a tensor {name} of type {kind} that this runtime "
                    f"cannot give to it; {mend}"
                )
            dtype = np.dtype(TYPES[kind])
            if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT:
                least, _, most = map(tuple, engine.get_tensor_profile_shape(name, 0))
                self.inputs[name] = EngineInput(name, dtype, least, most)
            else:
                self.outputs[name] = EngineOutput(name, dtype)

    @property
    def last_error(self) -> str:
        """What the library said of its last failure."""
        return self._logger.last_error or "it does not say why"

    def checked(self, arrays: Arrays) -> dict[str, NDArray[Any]]:
        """The engine's inputs out of what a call gives, each contiguous.

        Raises:
            InputError: One is missing, or of another type.
            EngineError: A shape is outside the engine's profile.
        """
        return {name: self._checked(entry, arrays) for name, entry in self.inputs.items()}

    def _checked(self, entry: EngineInput, arrays: Arrays) -> NDArray[Any]:
        if entry.name not in arrays:
            raise InputError(f"{self.graph}: its input {entry.name} is missing")
        array = arrays[entry.name]
        if array.dtype != entry.dtype:
            raise InputError(
                f"{self.graph}: its input {entry.name} is {entry.dtype}, not {array.dtype}"
            )
        bounds = zip(entry.least, array.shape, entry.most, strict=False)
        if array.ndim != len(entry.most) or not all(a <= b <= c for a, b, c in bounds):
            raise EngineError(
                f"{self.graph}: its input {entry.name} has shape {list(array.shape)}; the engine "
                f"takes {list(entry.least)} to {list(entry.most)}; build it for more with "
                f"{self.mend} and --min-shapes or --max-shapes"
            )
        return np.ascontiguousarray(array)
