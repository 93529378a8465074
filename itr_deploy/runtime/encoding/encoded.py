"""Encoded items in memory: what an encoder returns, and what a resident gallery holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itr_deploy.bundle.manifest import HeldType, StorageType
from itr_deploy.bundle.modality import Modality
from itr_deploy.runtime.encoding.storage import restored, stored

Rows = NDArray[np.int64]
Floats = NDArray[np.floating]


@dataclass(frozen=True, eq=False)
class Block:
    """Items that share one array per tensor.

    Attributes:
        rows: ``int64 [n]``, the place of each item in its `Encoded`.
        tensors: By stored name, ``[n, positions, width]`` or ``[n, width]``; with int8 also the
            scales, see `encoding.storage`.
        lengths: ``int64 [n]`` for texts, None for images.
    """

    rows: Rows
    tensors: Mapping[str, NDArray[Any]]
    lengths: Rows | None = None

    @property
    def positions(self) -> int:
        """Regions per image or padded length of texts; 1 if nothing is stored per position."""
        return max((int(t.shape[1]) for t in self.tensors.values() if t.ndim == 3), default=1)

    @property
    def storage(self) -> HeldType:
        """The type of the tensors; float32, as embeddings, if there are none."""
        for tensor in self.tensors.values():
            found: HeldType = str(tensor.dtype)  # type: ignore[assignment]
            return found
        return "float32"

    @property
    def arrays(self) -> list[NDArray[Any]]:
        """The tensors, and the lengths if there are any."""
        return [*self.tensors.values(), *(() if self.lengths is None else (self.lengths,))]

    def take(self, local: Rows | slice, rows: Rows) -> Block:
        """The items at ``local``, with new places ``rows``."""
        lengths = None if self.lengths is None else self.lengths[local]
        return Block(rows, {name: t[local] for name, t in self.tensors.items()}, lengths)

    def stored_as(self, storage: StorageType) -> Block:
        """The same items stored in another type."""
        if storage == self.storage or not self.tensors:
            return self
        return Block(self.rows, stored(restored(self.tensors), storage), self.lengths)


@dataclass(frozen=True, eq=False)
class Encoded:
    """Encoded images or texts, in the order they were given.

    An `Encoded` equals only itself: it may hold gigabytes, and an item encoded along with other
    items differs in its last bits.

    Texts are in blocks of similar length, so that a long one does not pad the others.

    Attributes:
        modality: ``"image"`` or ``"text"``.
        embedding: ``float32 [N, E]``, the coarse embedding; ``[N, views * E]`` of images with
            several views.
        blocks: Every item is in exactly one.
        encoding_id: That of the bundle whose encoders made the items; only a matcher of a bundle
            with the same id can score them.
    """

    modality: Modality
    embedding: NDArray[np.float32]
    blocks: tuple[Block, ...]
    encoding_id: str

    def __len__(self) -> int:
        return len(self.embedding)

    @cached_property
    def places(self) -> tuple[Rows, Rows]:
        """For every item, the number of its block and its place in it, ``int64 [N]`` each."""
        block_of = np.zeros(len(self), np.int64)
        local_of = np.zeros(len(self), np.int64)
        for number, block in enumerate(self.blocks):
            block_of[block.rows] = number
            local_of[block.rows] = np.arange(len(block.rows))
        return block_of, local_of

    def stored_as(self, storage: StorageType) -> Encoded:
        """The items with their tensors in another type, as a gallery stores them."""
        blocks = tuple(block.stored_as(storage) for block in self.blocks)
        return Encoded(self.modality, self.embedding, blocks, self.encoding_id)

    def take(self, rows: Rows | slice) -> Encoded:
        """The items at ``rows``, renumbered from 0."""
        chosen = np.arange(len(self))[rows]
        block_of, local_of = self.places
        blocks = []
        for number, block in enumerate(self.blocks):
            places = np.flatnonzero(block_of[chosen] == number)
            if places.size:
                blocks.append(block.take(local_of[chosen[places]], places))
        return Encoded(self.modality, self.embedding[chosen], tuple(blocks), self.encoding_id)


def divided(items: Encoded, most: int) -> Encoded:
    """The same items with at most ``most`` per block; the tensors are not copied."""
    if all(len(block.rows) <= most for block in items.blocks):
        return items
    blocks = [
        block.take(slice(start, start + most), block.rows[start : start + most])
        for block in items.blocks
        for start in range(0, len(block.rows), most)
    ]
    return Encoded(items.modality, items.embedding, tuple(blocks), items.encoding_id)


def length_groups(lengths: Rows, padded: int | None = None) -> list[Rows]:
    """Group texts so that the shortest of a group is at least 7/8 of the longest it may hold.

    A text's group depends on its own length alone.

    Args:
        lengths: ``int64 [C]``.
        padded: The length that the model pads all texts to, if any; they are then one group.

    Returns:
        Arrays of places, shortest group first.
    """
    if padded is not None:
        return [np.arange(len(lengths))] if len(lengths) else []
    keys = length_keys(lengths)
    return [np.flatnonzero(keys == key) for key in np.unique(keys)]


def length_keys(lengths: Rows) -> Rows:
    """The number of every text's group, ``int64 [C]``, by its length."""
    keys: Rows = np.ceil(np.log(np.maximum(lengths, 1)) / np.log(8 / 7) - 1e-9).astype(np.int64)
    return keys
