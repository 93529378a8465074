"""The ONNX Runtime providers in use, with typed options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from itr_deploy.bundle.manifest import Precision
from itr_deploy.engines.files import ShapeRange

Options = dict[str, str]
Named = tuple[str, Options]


class Provider(Protocol):
    """An ONNX Runtime provider and its settings."""

    @property
    def name(self) -> str:
        """ONNX Runtime's name for the provider."""
        ...

    @property
    def device(self) -> str:
        """Where it computes, ``"cpu"`` or ``"cuda"``."""
        ...

    def chain(self, graph: str) -> list[Named]:
        """The providers that a graph's session is asked to use, first choice first."""
        ...

    def profile(self, graph: str) -> Mapping[str, ShapeRange] | None:
        """Shapes that a graph takes; None for any."""
        ...


@dataclass(frozen=True)
class CpuProvider:
    """ONNX Runtime's own kernels."""

    name = "CPUExecutionProvider"
    device = "cpu"

    def chain(self, graph: str) -> list[Named]:
        """The CPU alone."""
        return [(self.name, {})]

    def profile(self, graph: str) -> None:
        """None: any shapes."""


@dataclass(frozen=True)
class CudaProvider:
    """Kernels on an NVIDIA GPU.

    Attributes:
        device_id: The GPU's number.
        memory_limit: Bytes that its memory arena may grow to, None for no limit.
        tf32: Whether float32 products may round their operands to 10 bits, which fails parity.
    """

    name = "CUDAExecutionProvider"
    device = "cuda"

    device_id: int = 0
    memory_limit: int | None = None
    tf32: bool = False

    def chain(self, graph: str) -> list[Named]:
        """The GPU alone."""
        options = {
            "device_id": str(self.device_id),
            "use_tf32": _flag(self.tf32),
            # Sizes vary from call to call: powers of two would hold up to twice the memory.
            "arena_extend_strategy": "kSameAsRequested",
        }
        if self.memory_limit is not None:
            options["gpu_mem_limit"] = str(self.memory_limit)
        return [(self.name, options)]

    def profile(self, graph: str) -> None:
        """None: any shapes."""


@dataclass(frozen=True)
class TensorRTProvider:
    """TensorRT inside ONNX Runtime: engines are built for a session and cached on disk.

    Attributes:
        precision: That of the bundle's graphs. The provider types its networks by flags, so the
            graphs' own types must be allowed.
        profiles: By graph, the shapes that its engine takes for every input.
        cache: Directory of engines and timings; the provider's own file names tell the GPUs and
            versions apart.
        device_id: The GPU's number.
        workspace: Bytes of scratch memory an engine may take, None for no limit.
    """

    name = "TensorrtExecutionProvider"
    device = "cuda"

    precision: Precision
    profiles: Mapping[str, Mapping[str, ShapeRange]]
    cache: Path
    device_id: int = 0
    workspace: int | None = None

    def chain(self, graph: str) -> list[Named]:
        """TensorRT, then CUDA's kernels for what TensorRT does not take."""
        profile = self.profiles[graph]
        options = {
            "device_id": str(self.device_id),
            "trt_fp16_enable": _flag(self.precision == "float16"),
            "trt_engine_cache_enable": _flag(True),
            "trt_engine_cache_path": str(self.cache),
            "trt_engine_cache_prefix": graph,
            "trt_timing_cache_enable": _flag(True),
            "trt_timing_cache_path": str(self.cache),
            "trt_profile_min_shapes": _shapes({k: v.min for k, v in profile.items()}),
            "trt_profile_opt_shapes": _shapes({k: v.opt for k, v in profile.items()}),
            "trt_profile_max_shapes": _shapes({k: v.max for k, v in profile.items()}),
        }
        if self.precision == "bfloat16":
            # Set only if needed: older versions do not know this option and refuse it.
            options["trt_bf16_enable"] = _flag(True)
        if self.workspace is not None:
            options["trt_max_workspace_size"] = str(self.workspace)
        return [(self.name, options), *CudaProvider(self.device_id).chain(graph)]

    def profile(self, graph: str) -> Mapping[str, ShapeRange]:
        """The shapes that the engine of a graph is built for."""
        return self.profiles[graph]


def _flag(value: bool) -> str:
    return "1" if value else "0"


def _shapes(shapes: Mapping[str, tuple[int, ...]]) -> str:
    return ",".join(f"{name}:{'x'.join(map(str, shape))}" for name, shape in shapes.items())
