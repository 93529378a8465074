"""The part of TensorRT's Python API that the package uses, for the type checker.

The bindings come without types and under two names. A variable for the library is annotated
`TensorRT`, and an object that the library made with one of its classes, so that mypy finds any use
that is not declared here. ``tests/test_tensorrt_api.py`` compares these declarations with those of
every supported version, which ``tools/tensorrt_api.py`` has recorded.

A method has the bindings' arguments, without optional ones that the package never passes. Where a
union of types is declared, the first is the bindings'; the others are types that they convert, or
None where they refuse. Attributes that are not properties may be set.
"""

# mypy: disable-error-code="empty-body"
# ruff: noqa: D102, D106

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NewType

Flags = NewType("Flags", int)
"""``1 << int(member)`` of an enum's members, never a number: it differs between versions."""


class Enumeration:
    """A member of an enum; its number differs between versions."""

    name: str
    __members__: Mapping[str, Any]

    def __int__(self) -> int: ...


class TensorRT:
    """The module ``tensorrt``, or ``tensorrt_rtx``."""

    __name__: str
    __version__: str

    class Builder:
        def __init__(self, logger: TensorRT.ILogger) -> None: ...
        def build_serialized_network(
            self, network: TensorRT.INetworkDefinition, config: TensorRT.IBuilderConfig
        ) -> TensorRT.IHostMemory | None: ...
        def create_builder_config(self) -> TensorRT.IBuilderConfig: ...
        def create_network(self, flags: Flags = ...) -> TensorRT.INetworkDefinition: ...
        def create_optimization_profile(self) -> TensorRT.IOptimizationProfile: ...

    class BuilderFlag(Enumeration):
        EXCLUDE_LEAN_RUNTIME: TensorRT.BuilderFlag
        TF32: TensorRT.BuilderFlag
        VERSION_COMPATIBLE: TensorRT.BuilderFlag

    class ComputeCapability(Enumeration):
        """Only in TensorRT for RTX; its members are looked up by name."""

    class DataType(Enumeration):
        BF16: TensorRT.DataType
        BOOL: TensorRT.DataType
        FLOAT: TensorRT.DataType
        HALF: TensorRT.DataType
        INT32: TensorRT.DataType
        INT64: TensorRT.DataType
        INT8: TensorRT.DataType
        UINT8: TensorRT.DataType

    class Dims:
        def __iter__(self) -> Iterator[int]: ...

    class EngineInspector:
        def get_engine_information(self, format: TensorRT.LayerInformationFormat) -> str: ...

    class HardwareCompatibilityLevel(Enumeration):
        """Its members are looked up by name."""

    class IBuilderConfig:
        builder_optimization_level: int
        hardware_compatibility_level: TensorRT.HardwareCompatibilityLevel
        num_compute_capabilities: int
        profiling_verbosity: TensorRT.ProfilingVerbosity
        progress_monitor: TensorRT.IProgressMonitor

        def add_optimization_profile(self, profile: TensorRT.IOptimizationProfile) -> int: ...
        def clear_flag(self, flag: TensorRT.BuilderFlag) -> None: ...
        def create_timing_cache(
            self, serialized_timing_cache: bytes
        ) -> TensorRT.ITimingCache | None: ...
        def get_timing_cache(self) -> TensorRT.ITimingCache | None: ...
        def set_compute_capability(
            self, compute_capability: TensorRT.ComputeCapability, index: int
        ) -> bool: ...
        def set_flag(self, flag: TensorRT.BuilderFlag) -> None: ...
        def set_memory_pool_limit(self, pool: TensorRT.MemoryPoolType, pool_size: int) -> None: ...
        def set_timing_cache(self, cache: TensorRT.ITimingCache, ignore_mismatch: bool) -> bool: ...

    class ICudaEngine:
        @property
        def num_io_tensors(self) -> int: ...
        def create_engine_inspector(self) -> TensorRT.EngineInspector: ...
        def create_execution_context(self) -> TensorRT.IExecutionContext | None: ...
        def get_tensor_dtype(self, name: str) -> TensorRT.DataType: ...
        def get_tensor_location(self, name: str) -> TensorRT.TensorLocation: ...
        def get_tensor_mode(self, name: str) -> TensorRT.TensorIOMode: ...
        def get_tensor_name(self, index: int) -> str: ...
        def get_tensor_profile_shape(
            self, name: str, profile_index: int
        ) -> list[TensorRT.Dims]: ...

    class IExecutionContext:
        def execute_async_v3(self, stream_handle: int) -> bool: ...
        def get_tensor_shape(self, name: str) -> TensorRT.Dims: ...
        def infer_shapes(self) -> list[str]: ...
        def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool: ...
        def set_optimization_profile_async(
            self, profile_index: int, stream_handle: int
        ) -> bool: ...
        def set_tensor_address(self, name: str, memory: int) -> bool: ...

    class IHostMemory:
        def __buffer__(self, flags: int, /) -> memoryview: ...

    class ILayer:
        @property
        def metadata(self) -> str: ...
        @property
        def type(self) -> TensorRT.LayerType: ...
        def get_input(self, index: int) -> TensorRT.ITensor: ...

    class ILogger:
        class Severity(Enumeration):
            ERROR: TensorRT.ILogger.Severity
            INTERNAL_ERROR: TensorRT.ILogger.Severity
            WARNING: TensorRT.ILogger.Severity

        def log(self, severity: TensorRT.ILogger.Severity, msg: str) -> None: ...

    class INetworkDefinition:
        @property
        def num_inputs(self) -> int: ...
        @property
        def num_layers(self) -> int: ...
        def get_input(self, index: int) -> TensorRT.ITensor: ...
        def get_layer(self, index: int) -> TensorRT.ILayer: ...

    class IOptimizationProfile:
        def set_shape(
            self,
            input: str,
            min: TensorRT.Dims | tuple[int, ...],
            opt: TensorRT.Dims | tuple[int, ...],
            max: TensorRT.Dims | tuple[int, ...],
        ) -> None: ...

    class IProgressMonitor:
        def phase_start(
            self, phase_name: str, parent_phase: str | None, num_steps: int
        ) -> None: ...
        def phase_finish(self, phase_name: str) -> None: ...
        def step_complete(self, phase_name: str, step: int) -> bool: ...

    class ITensor:
        @property
        def dtype(self) -> TensorRT.DataType: ...
        @property
        def name(self) -> str: ...

    class ITimingCache:
        def serialize(self) -> TensorRT.IHostMemory: ...

    class LayerInformationFormat(Enumeration):
        ONELINE: TensorRT.LayerInformationFormat

    class LayerType(Enumeration):
        CONVOLUTION: TensorRT.LayerType
        EINSUM: TensorRT.LayerType
        MATRIX_MULTIPLY: TensorRT.LayerType

    class MemoryPoolType(Enumeration):
        WORKSPACE: TensorRT.MemoryPoolType

    class NetworkDefinitionCreationFlag(Enumeration):
        STRONGLY_TYPED: TensorRT.NetworkDefinitionCreationFlag

    class OnnxParser:
        @property
        def num_errors(self) -> int: ...
        def __init__(
            self, network: TensorRT.INetworkDefinition, logger: TensorRT.ILogger
        ) -> None: ...
        def get_error(self, index: int) -> TensorRT.ParserError: ...
        def parse_from_file(self, model: str) -> bool: ...

    class ParserError:
        def desc(self) -> str: ...
        def node_name(self) -> str: ...
        def node_operator(self) -> str: ...

    class ProfilingVerbosity(Enumeration):
        DETAILED: TensorRT.ProfilingVerbosity

    class Runtime:
        engine_host_code_allowed: bool

        def __init__(self, logger: TensorRT.ILogger) -> None: ...
        def deserialize_cuda_engine(
            self, serialized_engine: bytes | TensorRT.IHostMemory
        ) -> TensorRT.ICudaEngine | None: ...

    class TensorIOMode(Enumeration):
        INPUT: TensorRT.TensorIOMode

    class TensorLocation(Enumeration):
        HOST: TensorRT.TensorLocation
