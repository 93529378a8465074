"""Device memory that is used again and again."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import SupportsInt

from itr_deploy.errors import SetupError
from itr_deploy.runtime.backends.tensorrt.memory import Device, DeviceMemoryError

LEAST = 256
"""Bytes of the smallest buffer: what CUDA aligns memory to."""


class BufferPool:
    """Buffers by size, each a power of two. Safe to use from several threads."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._idle: dict[int, list[int]] = {}
        self._lock = threading.Lock()

    def allocate(self, size: int) -> int:
        """Memory outside the pool, of exactly this size; idle buffers make room for it.

        Raises:
            SetupError: The device has not as much.
        """
        try:
            return self._device.allocate(size)
        except DeviceMemoryError:
            self.clear()
            return self._device.allocate(size)

    def take(self, size: int) -> tuple[int, int]:
        """Size and address of a buffer with at least ``size`` bytes.

        Raises:
            SetupError: The device has not as much.
        """
        rounded = max(LEAST, 1 << (size - 1).bit_length() if size else 0)
        with self._lock:
            idle = self._idle.get(rounded)
            if idle:
                return rounded, idle.pop()
        return rounded, self.allocate(rounded)

    def give_back(self, size: int, address: int) -> None:
        """Return a buffer that nothing reads or writes any more."""
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
    """The buffers of one call. On leaving they go back, once the stream has done with them."""

    def __init__(self, pool: BufferPool, device: Device, stream: SupportsInt) -> None:
        self._pool, self._device, self._stream = pool, device, stream
        self._taken: list[tuple[int, int]] = []

    def buffer(self, size: int) -> int:
        """Address of a buffer with at least ``size`` bytes.

        Raises:
            SetupError: The device has not as much.
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
            # What went wrong before says more than that the stream has failed too.
            if error is None:
                raise
        finally:
            # Backwards, so that the same call finds the same buffers again.
            for size, address in reversed(self._taken):
                self._pool.give_back(size, address)
