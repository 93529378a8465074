"""Harmless types that training programs leave in checkpoints, each read by a stand-in of our own.

What a checkpoint gives reaches no reconstructor of numpy or pathlib: those trust what they are
given. A stand-in keeps a number as Python's, a path as a path that opens nothing, and an array
not at all, since no score depends on one.
"""

from __future__ import annotations

import argparse
import struct
from collections.abc import Callable
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

NUMBERS = {
    "f2": "e", "f4": "f", "f8": "d", "b1": "?", "i1": "b", "i2": "h", "i4": "i", "i8": "q",
    "u1": "B", "u2": "H", "u4": "I", "u8": "Q",
}  # fmt: skip
"""numpy's codes of scalars, as `struct` writes them."""


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
    """Stands for `numpy.ndarray`, whose numbers are not kept."""

    def __init__(self, *_: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        """Keep nothing."""


def scalar(dtype: Any = None, data: Any = None) -> Any:
    """A number for what numpy writes of a scalar; what it cannot be read as stays an `Array`."""
    kind = NUMBERS.get(dtype.code) if isinstance(dtype, Dtype) else None
    raw = data.encode("latin-1") if isinstance(data, str) else data
    if kind is None or not isinstance(raw, bytes) or len(raw) != struct.calcsize(kind):
        return Array()
    return struct.unpack(dtype.order + kind, raw)[0]


def array(*_: Any) -> Array:
    """An array that `Array.__setstate__` fills with nothing."""
    return Array()


HARMLESS: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
    argparse.Namespace,
    (argparse.Namespace, "types.SimpleNamespace"),
    (Dtype, "numpy.dtype"),
    (Array, "numpy.ndarray"),
    *[
        entry
        for core in ("numpy.core.multiarray", "numpy._core.multiarray")
        for entry in ((scalar, f"{core}.scalar"), (array, f"{core}._reconstruct"))
    ],
    *[
        ((PureWindowsPath if "Windows" in name else PurePosixPath), f"{module}.{name}")
        for module in ("pathlib", "pathlib._local")
        for name in ("PosixPath", "PurePosixPath", "WindowsPath", "PureWindowsPath")
    ],
]
"""For `torch.serialization.safe_globals`: a type, or a stand-in and the name it stands for."""
