"""An execution context with a stream: runs one call of an engine at a time."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itr_deploy.errors import EngineError
from itr_deploy.runtime.backends.base import Arrays
from itr_deploy.runtime.backends.device_copies import DeviceCopies
from itr_deploy.runtime.backends.tensorrt.engine import LoadedEngine
from itr_deploy.runtime.backends.tensorrt.memory import Device
from itr_deploy.runtime.backends.tensorrt.pool import BufferPool, Lease

Shapes = Mapping[str, tuple[int, ...]]


class Worker:
    """Runs calls of one engine. Like an execution context, not safe to use from several threads."""

    def __init__(
        self,
        loaded: LoadedEngine,
        device: Device,
        pool: BufferPool,
        resident: DeviceCopies[int],
        cuda_graphs: bool,
    ) -> None:
        """Create the context.

        With ``cuda_graphs``, a second call with the same shapes and addresses is captured and then
        launched until a call differs, since the context must not change under a graph.

        Raises:
            EngineError: The library creates no context, most often for lack of memory.
            SetupError: CUDA refuses a stream.
        """
        self._loaded, self._device = loaded, device
        self._resident = resident
        # A graph holds its buffers' addresses, so nothing else may use them between launches.
        self._own_pool = BufferPool(device) if cuda_graphs else None
        self._pool = self._own_pool or pool
        self._shapes: Shapes = {}
        self._output_shapes: Shapes = {}
        self._addresses: Mapping[str, int] = {}
        self._cuda_graphs = cuda_graphs
        self._cuda_graph: Any = None
        self._same_calls = 0
        with ExitStack() as undo:
            self._stream = device.new_stream()
            undo.callback(device.destroy_stream, self._stream)
            context = loaded.engine.create_execution_context()
            if context is None or not context.set_optimization_profile_async(0, int(self._stream)):
                raise EngineError(
                    f"{loaded.graph}: the engine does not start on the GPU: {loaded.last_error}; "
                    "where memory is short, use fewer workers"
                )
            self._context = context
            device.synchronise(self._stream)
            undo.pop_all()

    def run(self, arrays: Arrays) -> dict[str, NDArray[Any]]:
        """Run the engine on named arrays and return its outputs by name.

        Raises:
            InputError: An input is missing, or of another type.
            EngineError: A shape is outside the engine's profile, or the engine fails.
            SetupError: The GPU is out of memory, or its work fails.
        """
        inputs = self._loaded.checked(arrays)
        self._set_shapes({name: array.shape for name, array in inputs.items()})
        outputs = {
            name: np.empty(self._output_shapes[name], dtype)
            for name, dtype in self._loaded.outputs.items()
        }
        # Held until the stream has read them.
        copies = {name: self._resident.copy_of(array) for name, array in inputs.items()}
        with Lease(self._pool, self._device, self._stream) as lease:
            addresses: dict[str, int] = {}
            for name, array in inputs.items():
                copy = copies[name]
                if copy is not None:
                    addresses[name] = copy.on_device
                else:
                    addresses[name] = lease.buffer(array.nbytes)
                    self._device.upload(addresses[name], array, self._stream)
            for name, array in outputs.items():
                addresses[name] = lease.buffer(array.nbytes)
            self._set_addresses(addresses)
            if not self._execute():
                raise EngineError(
                    f"{self._loaded.graph}: the engine failed: {self._loaded.last_error}; "
                    f"build it again with {self._loaded.remedy} --force"
                )
            for name, array in outputs.items():
                self._device.download(array, addresses[name], self._stream)
        return outputs

    def _set_shapes(self, shapes: Shapes) -> None:
        if shapes == self._shapes:
            return
        self._context_changes()
        self._shapes = {}
        refused = [
            name for name, shape in shapes.items() if not self._context.set_input_shape(name, shape)
        ]
        if refused or self._context.infer_shapes():
            given = ", ".join(f"{name} {list(shape)}" for name, shape in shapes.items())
            raise EngineError(
                f"{self._loaded.graph}: the engine refuses inputs of these shapes: {given}; "
                f"build it for them with {self._loaded.remedy} and --max-shapes"
            )
        self._output_shapes = {
            name: tuple(self._context.get_tensor_shape(name)) for name in self._loaded.outputs
        }
        self._shapes = shapes

    def _set_addresses(self, addresses: Mapping[str, int]) -> None:
        changed = {
            name: address
            for name, address in addresses.items()
            if self._addresses.get(name) != address
        }
        if not changed:
            return
        self._context_changes()
        self._addresses = {}
        for name, address in changed.items():
            if not self._context.set_tensor_address(name, address):
                raise EngineError(
                    f"{self._loaded.graph}: the engine takes no memory for {name}: "
                    f"{self._loaded.last_error}"
                )
        self._addresses = addresses

    def _execute(self) -> bool:
        """Give the engine's work to the stream; False if that fails."""
        # The first call with new shapes also prepares the context, which must not be captured.
        self._same_calls += 1
        if self._cuda_graphs and self._same_calls == 2:
            self._cuda_graph = self._device.capture(self._enqueue, self._stream)
        if self._cuda_graph is None:
            return self._enqueue()
        self._device.launch(self._cuda_graph, self._stream)
        return True

    def _enqueue(self) -> bool:
        return bool(self._context.execute_async_v3(int(self._stream)))

    def _context_changes(self) -> None:
        self._same_calls = 0
        if self._cuda_graph is not None:
            graph, self._cuda_graph = self._cuda_graph, None
            self._device.destroy_graph(graph)

    def close(self) -> None:
        """Free the graph, the context, its own buffers and the stream."""
        self._context_changes()
        del self._context
        if self._own_pool is not None:
            self._own_pool.clear()
        self._device.destroy_stream(self._stream)
