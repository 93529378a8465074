"""How a gallery stores an item's tensors: as float32, as float16, or as int8 with scales.

An int8 tensor comes with one scale per vector, named by `scale_name`. A vector is its 8-bit numbers
times its scale, and the scale is the vector's largest absolute value over 127.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itr_deploy.bundle.manifest import StorageType
from itr_deploy.bundle.names import scale_name
from itr_deploy.runtime.encoding.checks import NotFiniteError

LEVELS = 127
"""The largest 8-bit number used; -128 is left out for symmetry."""
ZERO = 128
"""The byte that stands for 0, where numbers are unsigned bytes."""

Tensors = Mapping[str, NDArray[Any]]


def stored(tensors: Tensors, storage: StorageType) -> dict[str, NDArray[Any]]:
    """Floating-point tensors as a gallery stores them, along with their scales for int8.

    Raises:
        NotFiniteError: A value is too large for float16.
    """
    found: dict[str, NDArray[Any]] = {}
    for name, tensor in tensors.items():
        if storage == "int8":
            found[name], found[scale_name(name)] = quantised(tensor)
        else:
            with np.errstate(over="raise"):
                try:
                    found[name] = tensor.astype(storage)
                except FloatingPointError as error:
                    raise NotFiniteError(
                        f"{name} has values up to {np.abs(tensor).max():.3g}, more than {storage} "
                        "holds; store float32"
                    ) from error
    return found


def restored(tensors: Tensors) -> dict[str, NDArray[np.floating]]:
    """The tensors that `stored` was given, with the rounding of their storage, without scales."""
    scales = {scale_name(name) for name, tensor in tensors.items() if tensor.dtype == np.int8}
    return {
        name: dequantised(tensor, tensors[scale_name(name)]) if tensor.dtype == np.int8 else tensor
        for name, tensor in tensors.items()
        if name not in scales
    }


def quantised(tensor: NDArray[np.floating]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Vectors ``[..., width]`` as ``int8 [..., width]`` and scales ``float32 [...]``.

    A value is off by at most half of its vector's scale. Zero vectors, and those too small for a
    normal float32 scale, become zeros with scale 0.
    """
    scales = np.abs(tensor).max(axis=-1).astype(np.float32) / np.float32(LEVELS)
    scales[scales < np.finfo(np.float32).tiny] = 0
    divisors = np.where(scales > 0, scales, np.float32(np.inf))
    # Vectors that are not finite stay so through their scale.
    levels = np.nan_to_num(np.rint(tensor / divisors[..., None]))
    return levels.astype(np.int8), scales


def dequantised(values: NDArray[np.int8], scales: NDArray[np.float32]) -> NDArray[np.float32]:
    """The vectors ``float32 [..., width]`` from the results of `quantised`."""
    vectors: NDArray[np.float32] = values * scales[..., None]
    return vectors
