"""A new gallery in an object store: one commit, seen by nobody before and as a whole after it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from itr_deploy.bundle.manifest import StorageType
from itr_deploy.bundle.modality import Modality
from itr_deploy.deploy.expected_time import tell_time
from itr_deploy.deploy.index_request import IndexRequest
from itr_deploy.deploy.indexed import Indexed, index_if_large, of_gallery
from itr_deploy.errors import OutputError
from itr_deploy.paths import StoreUrl
from itr_deploy.runtime.gallery import Gallery
from itr_deploy.runtime.gallery.location import location_of
from itr_deploy.runtime.gallery.stores.creating import create_at_once
from itr_deploy.runtime.gallery.stores.store import Store


@dataclass(frozen=True)
class NewInStore:
    """The arguments of `index` that say what becomes of the items."""

    output: StoreUrl
    modality: Modality
    storage: StorageType | None
    coarse_index: bool | None
    force: bool
    lock_timeout: float


def index_in_store(
    request: IndexRequest,
    new: NewInStore,
    *,
    progress: Callable[[int, int], None],
    looking: Callable[[str, int, int], object],
    tell: Callable[[str], None],
) -> Indexed:
    """Encode items into a new gallery in an object store; see `index`.

    Raises:
        GalleryBusyError: Another writer is at the gallery.
        GalleryError: The store refuses.
        OutputError: There is a gallery already, and it is not to be replaced.
    """
    store = location_of(new.output)
    assert isinstance(store, Store)
    # Before any work; that the lock can be written shows that the rest can.
    with store.locked(new.lock_timeout):
        there = store.latest_version()
        if there and not new.force:
            raise OutputError(
                f"{new.output} exists; give force=True (--force) to replace this gallery"
            )
        matcher = request.load()
        given = request.items(matcher, looking)
        total = len(given.ids)
        tell_time(given.items, range(total), tell)
        created = create_at_once(
            *(store, matcher, new.modality, new.storage),
            *(given.ids, given.items, given.columns, lambda done: progress(done, total)),
            replace=there > 0,
        )
        if not created:
            given.check_any()
        gallery = Gallery.open(new.output, matcher, lock_timeout=new.lock_timeout)
        index_if_large(gallery, new.coarse_index)
        if there:
            store.remove_all_but(gallery.version)
    broken = given.broken
    return of_gallery(gallery, total - len(broken), broken)
