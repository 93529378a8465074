"""Device memory, streams and graphs of CUDA's runtime; every error code becomes one line.

Arrays are copied directly from and to numpy's memory. Pinned memory in between would need another
copy of our own, which costs as much as the driver's.
"""

# Not built on cuda.core (1.2.2), which would save only 15 of 74 lines here. Its errors have a text
# but no code, every thread must first make the device current, its pool may give a call different
# addresses from the call before, which CUDA graphs do not allow, and it reports a GPU's memory
# through NVML only. `BufferPool` and `probe` would still be needed.

from __future__ import annotations

from collections.abc import Callable
from typing import Any, SupportsInt

from numpy.typing import NDArray

from itr_deploy.errors import SetupError


class DeviceMemoryError(SetupError):
    """The device does not have enough memory left."""


class Device:
    """The first GPU that this process may use. Safe to use from several threads."""

    def __init__(self) -> None:
        """Import CUDA's bindings.

        Raises:
            SetupError: The bindings are not installed.
        """
        try:
            from cuda.bindings import runtime
        except ImportError as error:
            raise SetupError(
                "cuda-bindings is not installed; pip install 'itr-deploy[tensorrt]'"
            ) from error
        self._cudart = runtime

    def allocate(self, size: int) -> int:
        """Allocate ``size`` bytes and return their address.

        Raises:
            DeviceMemoryError: The device has too little memory left.
            SetupError: CUDA refuses for another reason.
        """
        code, address = self._cudart.cudaMalloc(size)
        if code == self._cudart.cudaError_t.cudaErrorMemoryAllocation:
            raise DeviceMemoryError(
                f"the GPU has no {size / 1e6:.1f} MB of memory left; leave the gallery on disk "
                "(resident=False), use fewer workers, or a smaller memory budget"
            )
        self._check("allocate memory", code)
        return int(address)

    def free(self, address: int) -> None:
        """Give memory back.

        Raises:
            SetupError: CUDA refuses.
        """
        self._check("free memory", *self._cudart.cudaFree(address))

    def upload(self, address: int, array: NDArray[Any], stream: SupportsInt) -> None:
        """Copy a contiguous array to the device, in stream order.

        Raises:
            SetupError: CUDA refuses.
        """
        kind = self._cudart.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._copy("to", address, array.ctypes.data, array.nbytes, kind, stream)

    def download(self, array: NDArray[Any], address: int, stream: SupportsInt) -> None:
        """Fill a contiguous array from the device, in stream order.

        The array may be read once the stream is synchronised.

        Raises:
            SetupError: CUDA refuses.
        """
        kind = self._cudart.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._copy("from", array.ctypes.data, address, array.nbytes, kind, stream)

    def _copy(
        self, way: str, to: int, origin: int, size: int, kind: Any, stream: SupportsInt
    ) -> None:
        copied = self._cudart.cudaMemcpyAsync(to, origin, size, kind, stream)
        self._check(f"copy {size} bytes {way} the GPU", *copied)

    def new_stream(self) -> SupportsInt:
        """Create a stream that does not wait for others.

        Raises:
            SetupError: CUDA refuses.
        """
        flags = self._cudart.cudaStreamNonBlocking
        stream: SupportsInt
        code, stream = self._cudart.cudaStreamCreateWithFlags(flags)
        self._check("start a stream", code)
        return stream

    def synchronise(self, stream: SupportsInt) -> None:
        """Wait until a stream has finished all its work.

        Raises:
            SetupError: Some of the work failed.
        """
        self._check("finish its work", *self._cudart.cudaStreamSynchronize(stream))

    def destroy_stream(self, stream: SupportsInt) -> None:
        """Destroy a stream.

        Raises:
            SetupError: CUDA refuses.
        """
        self._check("end a stream", *self._cudart.cudaStreamDestroy(stream))

    def capture(self, work: Callable[[], bool], stream: SupportsInt) -> Any | None:
        """Capture what ``work`` gives to a stream as a CUDA graph for `launch`; nothing runs yet.

        Returns:
            The graph, or None if ``work`` fails or cannot be captured.

        Raises:
            SetupError: CUDA refuses to begin.
        """
        success = self._cudart.cudaError_t.cudaSuccess
        # Other threads may keep using their streams and memory.
        mode = self._cudart.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._check("capture a graph", *self._cudart.cudaStreamBeginCapture(stream, mode))
        worked = False
        try:
            worked = work()
        finally:
            code, recorded = self._cudart.cudaStreamEndCapture(stream)
        if code != success:
            return None
        code, graph = self._cudart.cudaGraphInstantiate(recorded, 0)
        self._check("free a graph", *self._cudart.cudaGraphDestroy(recorded))
        if code != success:
            return None
        if not worked:
            self.destroy_graph(graph)
            return None
        return graph

    def launch(self, graph: Any, stream: SupportsInt) -> None:
        """Run a captured graph in stream order.

        Raises:
            SetupError: CUDA refuses.
        """
        self._check("launch a graph", *self._cudart.cudaGraphLaunch(graph, stream))

    def destroy_graph(self, graph: Any) -> None:
        """Destroy a captured graph.

        Raises:
            SetupError: CUDA refuses.
        """
        self._check("free a graph", *self._cudart.cudaGraphExecDestroy(graph))

    def _check(self, doing: str, code: Any) -> None:
        if code != self._cudart.cudaError_t.cudaSuccess:
            text = self._cudart.cudaGetErrorString(code)[1].decode(errors="replace")
            raise SetupError(f"the GPU cannot {doing}: {code.name}: {text}")
