"""Adding many items in several commits, so that little is lost where the process is killed.

A table's rows say themselves what is done: every commit adds its items as a whole, and the next
process leaves out the ids that are there. This is for a gallery that nobody searches yet; in one
that is searched, `Gallery.add` shows all items at once.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import pyarrow as pa

from itr_deploy.errors import GalleryError
from itr_deploy.runtime.encoding.sources import source
from itr_deploy.runtime.gallery import checksums, writing
from itr_deploy.runtime.gallery.files import table_root, unnamed, written_files
from itr_deploy.runtime.gallery.gallery import Gallery
from itr_deploy.runtime.gallery.given import checked_ids, metadata_table
from itr_deploy.runtime.gallery.layout import describe
from itr_deploy.runtime.gallery.table import GalleryTable
from itr_deploy.runtime.gallery.transaction import Feed, transaction
from itr_deploy.runtime.gallery.writing import Progress

SECONDS, SHARE, MOST_SECONDS = 30.0, 0.1, 600.0
"""A commit's least duration, its part of what came before, so that there are few of them, and the
longest, which is what a killed process loses."""


def add_in_parts(
    gallery: Gallery,
    ids: Sequence[str],
    items: Any,
    metadata: Mapping[str, Sequence[Any]] | None,
    progress: Progress,
    *,
    begin: Callable[[Sequence[int]], object],
    committed: Callable[[], object],
    within: range | None = None,
) -> None:
    """Encode and add those items whose ids are not there yet; see `Gallery.add`.

    Pictures that were left out before are tried again: nothing of them is there.

    Args:
        gallery: Empty, or left by a process that added the same items and was stopped.
        ids: One per item.
        items: All items, also those that are there.
        metadata: User columns, one value per item.
        progress: Called with the number of items that are done.
        begin: Called with the numbers of the items that are left, before the first is encoded.
        committed: Called after every commit.
        within: The numbers of the items to add, by default of all.

    Raises:
        GalleryError: An id is repeated, or a column cannot be stored.
        InputError: An item cannot be encoded.
        OutputError: The disk refuses the write; what was committed before stays.
    """
    assert gallery.matcher is not None
    names, table = checked_ids(ids), gallery.opened
    given = source(gallery.matcher, items, gallery.modality)
    if given.count != len(names):
        raise GalleryError(f"{len(names)} ids were given for {given.count} items")
    with table.writing():
        _clean(table)
    present = set(table.ids())
    chosen = range(len(names)) if within is None else within
    left = [number for number in chosen if names[number] not in present]
    extra = metadata_table(metadata, len(names), writing.types_of(table))
    todo, done = deque(_slices(left, given.together)), len(chosen) - len(left)
    if done:
        progress(done)
    begin(left)
    began = time.monotonic()

    def batches(layout: pa.Schema) -> Iterator[pa.RecordBatch]:
        nonlocal done
        description, start = describe(layout, table.path), time.monotonic()
        lasts = min(MOST_SECONDS, max(SECONDS, SHARE * (start - began)))
        while todo:
            part = todo.popleft()
            batch = writing.to_batch(description, layout, names, given, extra, part)
            if batch is not None:
                yield batch
            done += part.stop - part.start
            progress(done)
            if batch is not None and time.monotonic() - start >= lasts:
                return

    while todo:
        with table.writing():
            is_new = table.count() == 0
            layout = writing.first_layout(table, given, extra) if is_new else table.state.schema
            own = batches(layout)
            first = next(own, None)
            if first is not None:
                feed = Feed(layout, chain([first], own))
                _commit(table, layout, feed, is_new)
        committed()


def _commit(table: GalleryTable, layout: pa.Schema, feed: Feed, is_new: bool) -> None:
    if is_new:
        transaction(table.location, lambda: table.overwrite(layout, feed.reader), feed)
    else:
        transaction(table.location, lambda: table.lance.add(feed.reader), feed)


def _slices(numbers: Sequence[int], most: int) -> Iterator[slice]:
    """Slices of consecutive numbers, of no more than ``most`` each."""
    start = 0
    for end in range(1, len(numbers) + 1):
        ends = end == len(numbers) or numbers[end] != numbers[end - 1] + 1
        if ends or end - start == most:
            yield slice(numbers[start], numbers[end - 1] + 1)
            start = end


def _clean(table: GalleryTable) -> None:
    """Remove what a killed writer had begun, and record what it had committed."""
    root = table_root(table.path)
    for file in unnamed(root, written_files(root)):
        file.unlink(missing_ok=True)
    checksums.record(table.path, root)
