"""Arrays that stay on the device for as long as they live on the host."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from itr_deploy.runtime.backends.tensorrt.memory import Device
from itr_deploy.runtime.backends.tensorrt.pool import BufferPool

Key = tuple[int, int]
"""Where an array lies on the host, and its bytes: a view of the whole array is the same."""


@dataclass(frozen=True)
class Copy:
    """A copy on the device. It is there as long as ``original`` is held."""

    original: NDArray[Any]
    address: int


class ResidentArrays:
    """Copies on the device. Safe to use from several threads."""

    def __init__(self, device: Device, pool: BufferPool) -> None:
        self._device, self._pool = device, pool
        self._copies: dict[Key, tuple[weakref.ref[NDArray[Any]], int]] = {}
        # An array may die, and `_drop` run, wherever this thread is: also while it holds the lock.
        self._lock = threading.RLock()

    def keep(self, arrays: Iterable[NDArray[Any]]) -> None:
        """Copy arrays that are not there yet; a copy is freed when its array dies.

        Raises:
            SetupError: The device has not enough memory.
        """
        with self._lock:
            for array in arrays:
                if array.flags.c_contiguous and array.nbytes and _key(array) not in self._copies:
                    self._keep(array)

    def copy_of(self, array: NDArray[Any]) -> Copy | None:
        """A contiguous array's copy, None where there is none."""
        reference, address = self._copies.get(_key(array), (None, 0))
        original = None if reference is None else reference()
        return None if original is None else Copy(original, address)

    def _keep(self, array: NDArray[Any]) -> None:
        address = self._pool.allocate(array.nbytes)
        try:
            stream = self._device.new_stream()
            try:
                self._device.upload(address, array, stream)
                self._device.synchronise(stream)
            finally:
                self._device.destroy_stream(stream)
        except BaseException:
            self._device.free(address)
            raise
        self._copies[_key(array)] = weakref.ref(array), address
        weakref.finalize(array, self._drop, _key(array)).atexit = False

    def _drop(self, key: Key) -> None:
        with self._lock:
            _, address = self._copies.pop(key, (None, None))
            if address is not None:
                self._device.free(address)

    def clear(self) -> None:
        """Free all copies."""
        with self._lock:
            while self._copies:
                _, (_, address) = self._copies.popitem()
                self._device.free(address)


def _key(array: NDArray[Any]) -> Key:
    return array.ctypes.data, array.nbytes
