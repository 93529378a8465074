"""How a gallery stores an item's tensors: as float32, as float16, or as int8 with scales.

An int8 tensor comes with a scale a vector, called as the tensor and `scale_name`: a vector is its
8-bit numbers times its scale, the largest of its sizes over 127.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itr_deploy.bundle.manifest import StorageType
from itr_deploy.bundle.names import scale_name

LEVELS = 127
"""The largest of the numbers; -128 is left out, so that they are symmetric."""

Tensors = Mapping[str, NDArray[Any]]


def stored(tensors: Tensors, storage: StorageType) -> dict[str, NDArray[Any]]:
    """Floating point tensors as a gallery stores them: with scales beside them if it is int8."""
    found: dict[str, NDArray[Any]] = {}
    for name, tensor in tensors.items():
        if storage == "int8":
            found[name], found[scale_name(name)] = quantised(tensor)
        else:
            found[name] = tensor.astype(storage)
    return found


def restored(tensors: Tensors) -> dict[str, NDArray[np.floating]]:
    """The tensors that `stored` was given, rounded as they were stored, without scales."""
    scales = {scale_name(name) for name, tensor in tensors.items() if tensor.dtype == np.int8}
    return {
        name: dequantised(tensor, tensors[scale_name(name)]) if tensor.dtype == np.int8 else tensor
        for name, tensor in tensors.items()
        if name not in scales
    }


def quantised(tensor: NDArray[np.floating]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Vectors ``[..., width]`` as ``int8 [..., width]`` and scales ``float32 [...]``.

    A value is off by half of its vector's scale at most. Vectors of zeros, and those too small for
    a normal float32 scale, are zeros with scale 0.
    """
    scales = np.abs(tensor).max(axis=-1).astype(np.float32) / np.float32(LEVELS)
    scales[scales < np.finfo(np.float32).tiny] = 0
    divisors = np.where(scales > 0, scales, np.float32(np.inf))
    # What is no number stays none by its vector's scale.
    levels = np.nan_to_num(np.rint(tensor / divisors[..., None]))
    return levels.astype(np.int8), scales


def dequantised(values: NDArray[np.int8], scales: NDArray[np.float32]) -> NDArray[np.float32]:
    """The vectors ``float32 [..., width]`` of what `quantised` gives."""
    vectors: NDArray[np.float32] = values * scales[..., None]
    return vectors
