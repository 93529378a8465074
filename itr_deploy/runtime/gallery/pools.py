"""Where the tensors of held items are: one pool per group of items of similar length."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count as numbers
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itr_deploy.runtime.encoding.encoded import Block, length_keys
from itr_deploy.runtime.gallery import rows
from itr_deploy.runtime.gallery.growing import Growing, capacity
from itr_deploy.runtime.gallery.layout import Description

Rows = NDArray[np.int64]

TAIL = 8
"""Where no space is reserved, a further pool has this part of what its group holds."""

_numbers = numbers()


@dataclass(frozen=True, eq=False)
class Pool:
    """Arrays of the items of one group, and how many of their rows are in use.

    Attributes:
        number: Tells pools apart.
        key: The group, see `_keys`.
        positions: Regions per image, or padded length of texts.
        items: Items in it.
        tensors: By stored name, and scales.
        rows: The items' places.
        lengths: Their lengths, of texts.
    """

    number: int
    key: int
    positions: int
    items: int
    tensors: dict[str, Growing]
    rows: Growing
    lengths: Growing | None

    @classmethod
    def of(cls, about: Description, key: int, positions: int, space: int) -> Pool:
        """An empty pool with space for this many items."""
        tensors = {
            entry.name: Growing(entry.shape(space, positions)[1:], entry.storage, space)
            for entry in about.columns
        }
        lengths = Growing((), np.int64, space) if about.modality == "text" else None
        places = Growing((), np.int64, space)
        return cls(next(_numbers), key, positions, 0, tensors, places, lengths)

    @property
    def space(self) -> int:
        """Items that it may still take."""
        return self.rows.capacity - self.items

    def block(self, before: Block | None) -> Block:
        """Its items; ``before`` itself if it had as many, with its copies on a device."""
        if before is not None and len(before.rows) == self.items:
            return before
        tensors = {name: tensor.first(self.items) for name, tensor in self.tensors.items()}
        lengths = None if self.lengths is None else self.lengths.first(self.items)
        return Block(self.rows.first(self.items), tensors, lengths)


@dataclass(frozen=True, eq=False)
class Part:
    """New items of one pool.

    Attributes:
        pool: The pool.
        first: The place in the pool of the first of them.
        items: Their numbers among the new items, rising.
    """

    pool: Pool
    first: int
    items: Rows

    def fill(self, batch: Any, start: int, stop: int) -> None:
        """Copy what a batch with the new items ``start`` to ``stop`` has of the pool's.

        Raises:
            ValueError: A tensor does not fit.
        """
        first, last = np.searchsorted(self.items, [start, stop])
        if first == last:
            return
        for name, tensor in self.pool.tensors.items():
            target = tensor.part(self.first + first, self.first + last)
            column = batch[rows.column_of(name)]
            rows.put(target, column, self.items[first:last] - start)

    def number(self, start: int) -> None:
        """Write down the items' places, of which the first new one is ``start``."""
        own = slice(self.first, self.first + len(self.items))
        self.pool.rows.part(own.start, own.stop)[...] = start + self.items


def pooled(
    about: Description,
    pools: tuple[Pool, ...],
    lengths: Rows | None,
    count: int,
    *,
    spare: bool,
) -> tuple[tuple[Pool, ...], list[Part]]:
    """Find space for new items.

    Args:
        about: The gallery's description.
        pools: What there is.
        lengths: ``int64 [count]``, where lengths are stored.
        count: Number of new items.
        spare: Whether to reserve space for as many items again.

    Returns:
        The pools with the new items, and which of these are where.
    """
    made, parts = {pool.number: pool for pool in pools}, []
    for key, positions, items in _groups(about, lengths, count):
        group = [pool for pool in made.values() if pool.key == key]
        for pool in (*group, None):
            if not len(items):
                break
            if pool is None:
                held = sum(one.items for one in group)
                space = capacity(max(len(items), held if spare else held // TAIL), spare=spare)
                pool = Pool.of(about, key, positions, space)
            if pool.positions < positions:
                continue
            taken, items = items[: pool.space], items[pool.space :]
            if not len(taken):
                continue
            if pool.lengths is not None and lengths is not None:
                pool.lengths.part(pool.items, pool.items + len(taken))[...] = lengths[taken]
            parts.append(Part(pool, pool.items, taken))
            made[pool.number] = replace(pool, items=pool.items + len(taken))
    return tuple(made.values()), parts


def _groups(
    about: Description, lengths: Rows | None, count: int
) -> Iterator[tuple[int, int, Rows]]:
    """For every group its key, the positions that it needs, and its items."""
    if lengths is None or not about.position_bytes:
        keys, fixed = np.zeros(count, np.int64), about.positions or 1
    elif about.ragged:
        keys, fixed = lengths, None
    elif about.positions is not None:
        keys, fixed = np.zeros(count, np.int64), about.positions
    else:
        keys, fixed = length_keys(lengths), None
    for key in np.unique(keys):
        items = np.flatnonzero(keys == key)
        positions = fixed if fixed is not None or lengths is None else int(lengths[items].max())
        yield int(key), positions or 1, items
