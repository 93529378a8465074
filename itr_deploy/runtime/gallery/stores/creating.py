"""Making a gallery with its first items in one commit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import pyarrow as pa

from itr_deploy.bundle.manifest import StorageType
from itr_deploy.bundle.modality import Modality
from itr_deploy.errors import GalleryError
from itr_deploy.runtime.encoding.sources import source
from itr_deploy.runtime.gallery.gallery import check_storage, default_storage
from itr_deploy.runtime.gallery.given import checked_ids, metadata_table
from itr_deploy.runtime.gallery.layout import TABLE, Description, describe
from itr_deploy.runtime.gallery.stores.store import Store
from itr_deploy.runtime.gallery.transaction import Feed, transaction
from itr_deploy.runtime.gallery.writing import Progress, layout_for, to_batch
from itr_deploy.runtime.matcher import Matcher


def create_at_once(
    store: Store,
    matcher: Matcher,
    modality: Modality,
    storage: StorageType | None,
    ids: Sequence[str],
    items: Any,
    metadata: Mapping[str, Sequence[Any]] | None,
    progress: Progress,
    *,
    replace: bool,
) -> bool:
    """Encode items into a new gallery; the caller has the lock.

    Args:
        store: Where.
        matcher: Encodes.
        modality: Of the items.
        storage: Type of the stored tensors, None for the bundle's own.
        ids: One per item.
        items: As for `Gallery.add`.
        metadata: User columns, one value per item.
        progress: Called with the number of items that are done.
        replace: Whether it takes the place of one that is there.

    Returns:
        False if every item was left out; then nothing was written.

    Raises:
        BundleError: The bundle has no graphs for this type.
        GalleryError: An id is repeated, a column cannot be stored, or the store refuses.
        InputError: An item cannot be encoded.
    """
    storage = storage or default_storage(matcher)
    check_storage(matcher, storage)
    names, given = checked_ids(ids), source(matcher, items, modality)
    if given.count != len(names):
        raise GalleryError(f"{len(names)} ids were given for {given.count} items")
    extra = metadata_table(metadata, len(names))
    about = Description.of(matcher.bundle.manifest, modality, storage)
    layout = layout_for(about, "", given, extra)
    described = describe(layout, store.address)

    def batches() -> Iterator[pa.RecordBatch]:
        for start in range(0, len(names), given.together):
            part = slice(start, min(start + given.together, len(names)))
            batch = to_batch(described, layout, names, given, extra, part)
            if batch is not None:
                yield batch
            progress(part.stop)

    own = batches()
    first = next(own, None)
    if first is None:
        return False
    feed = Feed(layout, chain([first], own))
    mode = "overwrite" if replace else "create"
    transaction(
        store,
        lambda: store.connect().create_table(TABLE, data=feed.reader, schema=layout, mode=mode),
        feed,
    )
    return True
