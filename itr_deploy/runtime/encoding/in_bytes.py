"""Vectors as bytes with a scale each, for the graphs that multiply bytes."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itr_deploy.bundle.names import scale_name
from itr_deploy.runtime.encoding.encoded import Block, Encoded
from itr_deploy.runtime.encoding.storage import LEVELS, ZERO


def as_bytes(tensor: NDArray[Any]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Vectors ``[..., width]`` as bytes ``[..., width]`` and scales ``float32 [...]``.

    A value is its byte less `ZERO`, times the scale of its vector, and off by at most half of it.
    Vectors that are too small for a normal scale become zeros.
    """
    values = tensor.astype(np.float32)
    scales: NDArray[np.float32] = np.maximum(values.max(axis=-1), -values.min(axis=-1))
    scales /= np.float32(LEVELS)
    scales[scales < np.finfo(np.float32).tiny] = 0
    with np.errstate(divide="ignore"):
        factors = np.where(scales > 0, 1 / scales, np.float32(0))
    values *= factors[..., None]
    values += np.float32(ZERO + 0.5)  # rounded as it is cut
    return values.astype(np.uint8), scales


def in_bytes(items: Encoded, names: Collection[str]) -> Encoded:
    """Encoded items with these tensors alone, as bytes.

    Args:
        items: Stored as floats.
        names: Names of tensors.
    """
    blocks = []
    for block in items.blocks:
        tensors: dict[str, NDArray[Any]] = {}
        for name in names:
            tensors[name], tensors[scale_name(name)] = as_bytes(block.tensors[name])
        blocks.append(Block(block.rows, tensors, block.lengths))
    return Encoded(items.modality, items.embedding, tuple(blocks), items.encoding_id)
