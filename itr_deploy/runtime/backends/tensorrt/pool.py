"""Reusable device memory."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import SupportsInt

from itr_deploy.errors import SetupError
from itr_deploy.runtime.backends.tensorrt.memory import Device, DeviceMemoryError

LEAST = 256
"""Bytes of the smallest buffer: CUDA's memory alignment."""


class BufferPool:
    """Buffers by size, each size a power of two. Safe to use from several threads."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._idle: dict[int, list[int]] = {}
        self._lock = threading.Lock()

    def allocate(self, size: int) -> int:
        """Memory outside the pool, of exactly this size; idle buffers are freed if necessary.

        Raises:
            SetupError: The device does not have enough memory.
        """
        try:
            return self._device.allocate(size)
        except DeviceMemoryError:
            self.clear()
            return self._device.allocate(size)

    def take(self, size: int) -> tuple[int, int]:
        """Size and address of a buffer with at least ``size`` bytes.

        Raises:
            SetupError: The device does not have enough memory.
        """
        rounded = max(LEAST, 1 << (size - 1).bit_length() if size else 0)
        with self._lock:
            idle = self._idle.get(rounded)
            if idle:
                return rounded, idle.pop()
        return rounded, self.allocate(rounded)

    def give_back(self, size: int, address: int) -> None:
        """Return a buffer that is no longer read or written."""
        with self._lock:
            self._idle.setdefault(size, []).append(address)

    def clear(self) -> None:
        """Free the buffers that are not in use.

        Raises:
            SetupError: CUDA refuses.
        """
        with self._lock:
            idle = [address for addresses in self._idle.values() for address in addresses]
            self._idle.clear()
        for address in idle:
            self._device.free(address)


class Lease:
    """The buffers of one call; on exit they are returned once the stream has finished."""

    def __init__(self, pool: BufferPool, device: Device, stream: SupportsInt) -> None:
        self._pool, self._device, self._stream = pool, device, stream
        self._taken: list[tuple[int, int]] = []

    def buffer(self, size: int) -> int:
        """Address of a buffer with at least ``size`` bytes.

        Raises:
            SetupError: The device does not have enough memory.
        """
        self._taken.append(self._pool.take(size))
        return self._taken[-1][1]

    def __enter__(self) -> Lease:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._device.synchronise(self._stream)
        except SetupError:
            # The earlier error says more than the failure of the stream.
            if error is None:
                raise
        finally:
            # In reverse, so that the same call gets the same buffers again.
            for size, address in reversed(self._taken):
                self._pool.give_back(size, address)
