"""Splitting a gallery: each shard's items are read once, in their order, and written in one commit.

What is in memory are the ids, and one batch of items.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from itr_deploy.errors import GalleryError, UsageError
from itr_deploy.runtime.gallery.gallery import Gallery
from itr_deploy.runtime.gallery.layout import ID_KEY, new_id
from itr_deploy.runtime.gallery.lock import DEFAULT_TIMEOUT
from itr_deploy.runtime.gallery.read import READ_ROWS, read_heads, tensor_batches
from itr_deploy.runtime.gallery.sharding.shards import shards_of
from itr_deploy.runtime.gallery.table import GalleryTable
from itr_deploy.runtime.gallery.transaction import Feed, transaction

Rows = NDArray[np.int64]


def row_ids_by_shard(gallery: Gallery, count: int) -> list[Rows]:
    """The row ids of every shard's items, in the gallery's order.

    Raises:
        GalleryError: A shard would have no item.
        UsageError: There are fewer items than shards.
    """
    heads = read_heads(gallery)
    if count > len(heads.rows):
        raise UsageError(
            f"count={count} (--count): {gallery.path} has {len(heads.rows)} items; give at most as "
            "many shards"
        )
    numbers = shards_of(heads.ids.tolist(), count)
    found = [heads.rows[numbers == number] for number in range(count)]
    empty = [number for number, own in enumerate(found) if not len(own)]
    if empty:
        raise GalleryError(
            f"{gallery.path}: shard {empty[0]} of {count} would be empty, as ids are spread by a "
            f"hash over {len(heads.rows)} items; give a smaller count= (--count)"
        )
    return found


def write_shard(
    gallery: Gallery, path: Path, rows: Rows, written: Callable[[int], object] = lambda count: None
) -> Gallery:
    """Make a gallery of some of another one's items, with equal values.

    Args:
        gallery: One version of a gallery.
        path: Where the new one is made.
        rows: Row ids of the items.
        written: Called with the number of items that were written last.

    Raises:
        GalleryError: The gallery cannot be read.
        OutputError: The disk refuses the write.
    """
    source = gallery.opened.state.schema
    layout = source.with_metadata({**(source.metadata or {}), ID_KEY: new_id().encode()})

    def batches() -> Iterator[pa.RecordBatch]:
        for start in range(0, len(rows), READ_ROWS):
            part = rows[start : start + READ_ROWS]
            for _, batch in tensor_batches(gallery, layout.names, part):
                arrays = [batch[field.name].cast(field.type) for field in layout]
                yield pa.RecordBatch.from_arrays(arrays, schema=layout)
            written(len(part))

    table = GalleryTable.create(path, layout, DEFAULT_TIMEOUT)
    with table.writing():
        feed = Feed(layout, batches())
        transaction(table.location, lambda: table.overwrite(layout, feed.reader), feed)
    made = Gallery.open(path)
    if made.count() != len(rows):
        raise GalleryError(f"{path}: holds {made.count()} items, not {len(rows)}")
    return made
