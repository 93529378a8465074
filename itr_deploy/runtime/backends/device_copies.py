"""Copies of arrays in a device's memory, for as long as the arrays live on the host."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from numpy.typing import NDArray

T = TypeVar("T")
Key = tuple[int, int]
"""An array's address on the host and its bytes; a view of the whole array has the same key."""


@dataclass(frozen=True, eq=False)
class Copy(Generic[T]):
    """A copy on the device, kept as long as ``original`` is held."""

    original: NDArray[Any]
    on_device: T


class DeviceCopies(Generic[T]):
    """Copies on a device. Safe to use from several threads."""

    def __init__(self, copy: Callable[[NDArray[Any]], T], free: Callable[[T], None]) -> None:
        """Make copies of contiguous arrays with ``copy``, and release them with ``free``."""
        self._copy, self._free = copy, free
        self._copies: dict[Key, tuple[weakref.ref[NDArray[Any]], T]] = {}
        # An array may die, and `_drop` run, at any point of this thread, even under the lock.
        self._lock = threading.RLock()

    def pin(self, arrays: Iterable[NDArray[Any]]) -> None:
        """Copy arrays that have no copy yet; a copy is freed when its array dies.

        Raises:
            SetupError: The device does not have enough memory.
        """
        with self._lock:
            for array in arrays:
                key = _key(array)
                if array.flags.c_contiguous and array.nbytes and key not in self._copies:
                    self._copies[key] = weakref.ref(array), self._copy(array)
                    weakref.finalize(array, self._drop, key).atexit = False

    def copy_of(self, array: NDArray[Any]) -> Copy[T] | None:
        """An array's copy, or None if there is none."""
        found = self._copies.get(_key(array))
        original = None if found is None else found[0]()
        if found is None or original is None or not array.flags.c_contiguous:
            return None
        same = (original.shape, original.dtype) == (array.shape, array.dtype)
        return Copy(original, found[1]) if same else None

    def _drop(self, key: Key) -> None:
        with self._lock:
            found = self._copies.pop(key, None)
            if found is not None:
                self._free(found[1])

    def clear(self) -> None:
        """Free all copies."""
        with self._lock:
            while self._copies:
                _, (_, on_device) = self._copies.popitem()
                self._free(on_device)


def _key(array: NDArray[Any]) -> Key:
    return array.ctypes.data, array.nbytes
