"""A GPU in host memory, behind the CUDA bindings' names.

Work given to a stream happens when the stream is synchronised, not before: whoever does not wait
reads nothing but zeros. Memory is checked at every access.
"""

from __future__ import annotations

import ctypes
import enum
import threading
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np


class CudaError(enum.IntEnum):
    cudaSuccess = 0  # noqa: N815
    cudaErrorInvalidValue = 1  # noqa: N815
    cudaErrorMemoryAllocation = 2  # noqa: N815
    cudaErrorInvalidResourceHandle = 400  # noqa: N815
    cudaErrorIllegalAddress = 700  # noqa: N815
    cudaErrorStreamCaptureUnsupported = 900  # noqa: N815


class MemcpyKind(enum.IntEnum):
    cudaMemcpyHostToDevice = 1  # noqa: N815
    cudaMemcpyDeviceToHost = 2  # noqa: N815


class CaptureMode(enum.IntEnum):
    cudaStreamCaptureModeThreadLocal = 1  # noqa: N815


class Stream:
    """Like the bindings' handle, it becomes a number only through `int`."""

    def __init__(self, handle: int) -> None:
        self._handle = handle

    def __int__(self) -> int:
        return self._handle


class IllegalAddressError(Exception):
    pass


class FakeGpu:
    """Memory, streams, and a record of forbidden uses of them."""

    def __init__(self, memory: int = 1 << 30, capability: tuple[int, int] = (8, 6)) -> None:
        self.memory = memory
        self.capability = capability
        self.started = False
        self.blocks: dict[int, np.ndarray] = {}
        self.streams: dict[int, list[Callable[[], None]]] = {}
        self.allocations = 0
        self.uploads: list[int] = []
        self.graphs: dict[int, list[Callable[[], None]]] = {}
        self.launches = 0
        self.no_capture = False
        self._capturing: dict[int, list[Callable[[], None]]] = {}
        self.violations: list[str] = []
        self._next = 0x7000_0000_0000
        self._lock = threading.RLock()

    @property
    def used(self) -> int:
        return sum(block.nbytes for block in self.blocks.values())

    def allocate(self, size: int) -> int | None:
        with self._lock:
            if self.used + size > self.memory:
                return None
            self._next += 1 << 40
            self.allocations += 1
            self.blocks[self._next] = np.zeros(size, np.uint8)
            return self._next

    def free(self, address: int) -> bool:
        with self._lock:
            return self.blocks.pop(address, None) is not None

    def bytes_at(self, address: int, size: int) -> np.ndarray:
        block = self.blocks.get(address)
        if block is None or size > block.nbytes:
            raise IllegalAddressError(hex(address))
        return block[:size]

    def new_stream(self) -> Stream:
        with self._lock:
            self._next += 1
            self.streams[self._next] = []
            return Stream(self._next)

    def later(self, stream: int, work: Callable[[], None]) -> None:
        self._capturing.get(stream, self.streams[stream]).append(work)

    def begin_capture(self, stream: int) -> None:
        self._capturing[stream] = []

    def end_capture(self, stream: int) -> int | None:
        work = self._capturing.pop(stream)
        return None if self.no_capture else self.new_graph(work)

    def new_graph(self, work: list[Callable[[], None]]) -> int:
        with self._lock:
            self._next += 1
            self.graphs[self._next] = work
            return self._next

    def launch(self, graph: int, stream: int) -> None:
        self.launches += 1
        for work in self.graphs[graph]:
            self.later(stream, work)

    def synchronise(self, stream: int) -> None:
        work = self.streams[stream]
        try:
            while work:
                work.pop(0)()
        finally:
            work.clear()

    def assert_clean(self) -> None:
        """Assert that nothing is left on the device and nothing forbidden was done."""
        assert self.violations == []
        assert self.blocks == {}
        assert self.streams == {}
        assert self.graphs == {}


def bindings(gpu: FakeGpu) -> dict[str, ModuleType]:
    """The modules that stand for ``cuda.bindings``, by name."""
    package, inner = ModuleType("cuda"), ModuleType("cuda.bindings")
    runtime, driver = _runtime(gpu), _driver(gpu)
    package.bindings = inner  # type: ignore[attr-defined]
    inner.runtime, inner.driver = runtime, driver  # type: ignore[attr-defined]
    return {entry.__name__: entry for entry in (package, inner, runtime, driver)}


def _runtime(gpu: FakeGpu) -> ModuleType:
    ok, invalid = CudaError.cudaSuccess, CudaError.cudaErrorInvalidValue

    def malloc(size: int) -> tuple[CudaError, int | None]:
        address = gpu.allocate(size)
        return (ok, address) if address else (CudaError.cudaErrorMemoryAllocation, None)

    def copy(dst: int, src: int, count: int, kind: MemcpyKind, stream: Stream) -> tuple[CudaError]:
        if int(stream) not in gpu.streams:
            return (CudaError.cudaErrorInvalidResourceHandle,)
        if kind == MemcpyKind.cudaMemcpyHostToDevice:
            # As with the driver, memory that is not pinned has been read when the call returns.
            staged = np.frombuffer(ctypes.string_at(src, count), np.uint8)
            gpu.uploads.append(count)

            def work() -> None:
                gpu.bytes_at(dst, count)[:] = staged
        else:

            def work() -> None:
                ctypes.memmove(dst, gpu.bytes_at(src, count).tobytes(), count)

        gpu.later(int(stream), work)
        return (ok,)

    def synchronise(stream: Stream) -> tuple[CudaError]:
        if int(stream) not in gpu.streams:
            return (CudaError.cudaErrorInvalidResourceHandle,)
        try:
            gpu.synchronise(int(stream))
        except IllegalAddressError:
            return (CudaError.cudaErrorIllegalAddress,)
        return (ok,)

    def destroy(stream: Stream) -> tuple[CudaError]:
        return (ok if gpu.streams.pop(int(stream), None) is not None else invalid,)

    def begin_capture(stream: Stream, mode: CaptureMode) -> tuple[CudaError]:
        gpu.begin_capture(int(stream))
        return (ok,)

    def end_capture(stream: Stream) -> tuple[CudaError, int | None]:
        graph = gpu.end_capture(int(stream))
        return (ok, graph) if graph else (CudaError.cudaErrorStreamCaptureUnsupported, None)

    def launch(graph_exec: int, stream: Stream) -> tuple[CudaError]:
        gpu.launch(graph_exec, int(stream))
        return (ok,)

    def destroy_graph(graph: int) -> tuple[CudaError]:
        return (ok if gpu.graphs.pop(graph, None) is not None else invalid,)

    return _module(
        "cuda.bindings.runtime",
        cudaStreamCaptureMode=CaptureMode,
        cudaStreamBeginCapture=begin_capture,
        cudaStreamEndCapture=end_capture,
        cudaGraphInstantiate=lambda graph, flags: (ok, gpu.new_graph(gpu.graphs[graph])),
        cudaGraphLaunch=launch,
        cudaGraphDestroy=destroy_graph,
        cudaGraphExecDestroy=destroy_graph,
        cudaError_t=CudaError,
        cudaMemcpyKind=MemcpyKind,
        cudaStreamNonBlocking=1,
        cudaMalloc=malloc,
        cudaFree=lambda address: (ok if gpu.free(address) else invalid,),
        cudaMemcpyAsync=copy,
        cudaStreamCreateWithFlags=lambda flags: (ok, gpu.new_stream()),
        cudaStreamSynchronize=synchronise,
        cudaStreamDestroy=destroy,
        cudaGetErrorString=lambda code: (ok, f"text of {code.name}".encode()),
    )


def _driver(gpu: FakeGpu) -> ModuleType:
    result = enum.IntEnum("CUresult", {"CUDA_SUCCESS": 0})
    attributes = enum.Enum(
        "CUdevice_attribute",
        {
            "CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR": 75,
            "CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR": 76,
        },
    )
    ok = result.CUDA_SUCCESS  # type: ignore[attr-defined]

    def init(flags: int) -> tuple[Any]:
        gpu.started = True
        return (ok,)

    return _module(
        "cuda.bindings.driver",
        CUresult=result,
        CUdevice_attribute=attributes,
        cuInit=init,
        cuDriverGetVersion=lambda: (ok, 13000),
        cuDeviceGetCount=lambda: (ok, 1),
        cuDeviceGet=lambda number: (ok, number),
        cuDeviceGetName=lambda size, device: (ok, b"Fake GPU\0\0"),
        cuDeviceGetAttribute=lambda kind, device: (ok, gpu.capability[kind.value - 75]),
        cuDeviceTotalMem=lambda device: (ok, gpu.memory),
    )


def _module(name: str, **members: Any) -> ModuleType:
    module = ModuleType(name)
    vars(module).update(members)
    return module
