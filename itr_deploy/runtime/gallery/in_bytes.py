"""What a gallery holds in memory once more as bytes, for the graphs that choose candidates.

A CPU with VNNI multiplies four times as many bytes as floats, and half of float16's memory has to
be read. The matcher reads what is stored, so that no score depends on the bytes. They are made
where the tensors are in memory, and never stored: they cannot be out of date, damaged or another
gallery's.
"""

from __future__ import annotations

import logging
import threading
import time
import weakref
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from itr_deploy.bundle.names import scale_name
from itr_deploy.runtime.encoding.encoded import Block, Encoded
from itr_deploy.runtime.encoding.in_bytes import as_bytes
from itr_deploy.runtime.gallery.growing import Growing
from itr_deploy.runtime.gallery.pausing import Pause, at_once
from itr_deploy.runtime.gallery.pools import Pool

log = logging.getLogger(__name__)

FROM = 512
"""Number of items from which bytes are made: fewer are hardly ever narrowed."""

_PART = 1 << 18
"""Values at a time, which stay in the cache."""

Held = Sequence[tuple[Pool, Block]]
"""Pools and their items of one version."""


@dataclass(eq=False)
class _Made:
    """The bytes of the first items of a pool."""

    tensors: dict[str, Growing]
    items: int = 0

    def first(self, block: Block) -> Block:
        count = len(block.rows)
        tensors = {name: made.first(count) for name, made in self.tensors.items()}
        return Block(block.rows, tensors, block.lengths)


class InBytes:
    """The bytes of items in pools that grow at their end. Safe to use from several threads."""

    def __init__(self) -> None:
        """Begin without any."""
        self._made: dict[int, _Made] = {}
        self._making = threading.Lock()

    def of(self, held: Held, names: Collection[str], items: Encoded) -> Encoded | None:
        """The items of a version with these tensors as bytes, None while some are missing.

        Args:
            held: The version's.
            names: Names of tensors.
            items: All of its items as they are stored.
        """
        blocks = []
        for pool, block in held:
            made = self._made.get(pool.number)
            if (
                made is None
                or made.items < len(block.rows)
                or not made.tensors.keys() >= set(names)
            ):
                return None
            blocks.append(made.first(block))
        return Encoded(items.modality, items.embedding, tuple(blocks), items.encoding_id)

    def make(self, held: Held, names: Collection[str], pause: Pause = at_once) -> None:
        """Make what is missing of a version's items.

        Args:
            held: The version's, stored as floats.
            names: Names of tensors, the same at every call.
            pause: Called after every few items with the seconds that they took.
        """
        _make(self._made, self._making, held, names, pause)

    def make_beside(self, held: Held, names: Collection[str], pause: Pause) -> None:
        """As `make`, in a thread of its own, which ends early when nobody has these bytes."""
        own, items = weakref.ref(self), sum(len(block.rows) for _, block in held)

        def paused(seconds: float) -> None:
            pause(seconds)
            if own() is None:
                raise _UnwantedError

        def work(made: dict[int, _Made], making: threading.Lock) -> None:
            began = time.perf_counter()
            try:
                _make(made, making, held, names, paused)
            except _UnwantedError:
                return
            except MemoryError as error:
                log.warning("candidates of %d items stay chosen by floats: %s", items, error)
                return
            took = time.perf_counter() - began
            log.info("candidates of %d items chosen by bytes, made in %.1f s", items, took)

        # The program may end at any time; the tensors are only read.
        thread = threading.Thread(
            target=work, args=(self._made, self._making), name="itr-deploy-bytes", daemon=True
        )
        thread.start()

    @property
    def bytes(self) -> int:
        """Bytes in memory."""
        return sum(
            grown.first(made.items).nbytes
            for made in list(self._made.values())
            for grown in made.tensors.values()
        )


class _UnwantedError(Exception):
    """Nobody has the bytes any more that are being made."""


def size(held: Held, names: Collection[str]) -> int:
    """Bytes that the items of a version will take."""
    total = 0
    for _, block in held:
        for name in names:
            tensor = block.tensors[name]
            total += tensor.size + 4 * tensor[..., 0].size
    return total


def _make(
    all_made: dict[int, _Made],
    making: threading.Lock,
    held: Held,
    names: Collection[str],
    pause: Pause,
) -> None:
    with making:
        for pool, block in held:
            made = all_made.setdefault(pool.number, _empty(pool, block, names))
            values = sum(block.tensors[name][:1].size for name in names)
            step = max(1, _PART // max(1, values))
            for start in range(made.items, len(block.rows), step):
                began = time.perf_counter()
                stop = min(start + step, len(block.rows))
                for name in names:
                    content, scales = as_bytes(block.tensors[name][start:stop])
                    made.tensors[name].part(start, stop)[...] = content
                    made.tensors[scale_name(name)].part(start, stop)[...] = scales
                made.items = stop
                pause(time.perf_counter() - began)


def _empty(pool: Pool, block: Block, names: Collection[str]) -> _Made:
    tensors: dict[str, Growing] = {}
    for name in names:
        row = block.tensors[name].shape[1:]
        tensors[name] = Growing(row, np.uint8, pool.rows.capacity)
        tensors[scale_name(name)] = Growing(row[:-1], np.float32, pool.rows.capacity)
    return _Made(tensors)
