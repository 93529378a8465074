"""Harmless types that training programs leave in checkpoints, each read by a stand-in of our own.

What a checkpoint gives reaches no reconstructor of numpy or pathlib: those trust what they are
given. A stand-in keeps a number as Python's, a path as a path that opens nothing, and of an array
what it was made of, for the programs whose weights are arrays (`Array.tensor`).
"""

from __future__ import annotations

import argparse
import math
import struct
from collections.abc import Callable
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
import torch
from torch import Tensor

NUMBERS = {
    "f2": "e", "f4": "f", "f8": "d", "b1": "?", "i1": "b", "i2": "h", "i4": "i", "i8": "q",
    "u1": "B", "u2": "H", "u4": "I", "u8": "Q",
}  # fmt: skip
"""numpy's codes of scalars, as `struct` writes them."""

MOST_AXES = 8
"""Of an array; weights have up to 4."""


class Dtype:
    """Stands for `numpy.dtype`: the code of its type and its byte order."""

    def __init__(self, code: Any = None, *_: Any) -> None:
        self.code = code
        self.order = "<"

    def __setstate__(self, state: Any) -> None:
        """Take the byte order of numpy's state."""
        if isinstance(state, tuple) and len(state) > 1 and state[1] in ("<", ">"):
            self.order = state[1]


class Array:
    """Stands for `numpy.ndarray`: its shape, the type of its numbers, and their bytes."""

    def __init__(
        self, shape: Any = (), dtype: Any = None, data: Any = None, by_column: Any = False
    ) -> None:
        self._shape, self._dtype, self._data, self._by_column = shape, dtype, data, by_column

    def __setstate__(self, state: Any) -> None:
        """Take what numpy writes of an array: version, shape, type, order, bytes."""
        if isinstance(state, tuple) and len(state) == 5:
            _, self._shape, self._dtype, self._by_column, self._data = state

    def tensor(self) -> Tensor:
        """A copy of its numbers.

        Raises:
            ValueError: They are no plain numbers, or not as many as the shape says.
        """
        code = self._dtype.code if isinstance(self._dtype, Dtype) else None
        raw = self._data.encode("latin-1") if isinstance(self._data, str) else self._data
        if code not in NUMBERS or not isinstance(raw, (bytes, bytearray)):
            raise ValueError("an array of something else than plain numbers")
        shape = self._shape
        if not isinstance(shape, tuple) or not all(type(n) is int and n >= 0 for n in shape):
            raise ValueError("an array of no shape")
        if len(shape) > MOST_AXES or math.prod(shape) * struct.calcsize(NUMBERS[code]) != len(raw):
            raise ValueError("an array of other numbers than its shape says")
        kind = np.dtype(self._dtype.order + code)
        numbers: Any = np.ndarray(shape, kind, raw, order="F" if self._by_column else "C")
        return torch.from_numpy(np.array(numbers, np.dtype(code), order="C"))


def scalar(dtype: Any = None, data: Any = None) -> Any:
    """A number for what numpy writes of a scalar; what it cannot be read as stays an `Array`."""
    kind = NUMBERS.get(dtype.code) if isinstance(dtype, Dtype) else None
    raw = data.encode("latin-1") if isinstance(data, str) else data
    if kind is None or not isinstance(raw, bytes) or len(raw) != struct.calcsize(kind):
        return Array()
    return struct.unpack(dtype.order + kind, raw)[0]


def array(*_: Any) -> Array:
    """An array that `Array.__setstate__` fills."""
    return Array()


def from_buffer(data: Any = None, dtype: Any = None, shape: Any = (), order: Any = "C") -> Array:
    """An array as numpy writes it since protocol 5."""
    return Array(shape, dtype, data, order == "F")


RECONSTRUCTORS: dict[str, Callable[..., Any]] = {
    "numpy.dtype": Dtype,
    "numpy.ndarray": Array,
    **{f"{core}.multiarray.scalar": scalar for core in ("numpy.core", "numpy._core")},
    **{f"{core}.multiarray._reconstruct": array for core in ("numpy.core", "numpy._core")},
    **{f"{core}.numeric._frombuffer": from_buffer for core in ("numpy.core", "numpy._core")},
}
"""What stands for numpy's types and functions, by the names that files call."""


HARMLESS: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
    argparse.Namespace,
    (argparse.Namespace, "types.SimpleNamespace"),
    *((stand_in, name) for name, stand_in in RECONSTRUCTORS.items()),
    *[
        ((PureWindowsPath if "Windows" in name else PurePosixPath), f"{module}.{name}")
        for module in ("pathlib", "pathlib._local")
        for name in ("PosixPath", "PurePosixPath", "WindowsPath", "PureWindowsPath")
    ],
]
"""For `torch.serialization.safe_globals`: a type, or a stand-in and the name it stands for."""
