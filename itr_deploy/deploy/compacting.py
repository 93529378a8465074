"""`compact`: writes a gallery anew without what was deleted from it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from itr_deploy.runtime.gallery import Gallery
from itr_deploy.runtime.gallery.compacting import files_of
from itr_deploy.runtime.gallery.lock import DEFAULT_TIMEOUT
from itr_deploy.runtime.gallery.old_versions import KEEP
from itr_deploy.values import GALLERY, SECONDS, checked, in_no_store


@dataclass(frozen=True)
class Compacted:
    """A gallery before and after it was compacted.

    Attributes:
        gallery: Its directory.
        items: Number of items.
        coarse_indexed: Number of items in the coarse index, 0 if there is none.
        versions_removed: Old versions that were removed.
        versions_kept: Old versions that stay, since they were succeeded a short time ago. Deleted
            items may still be in their files.
        files_before: Number of files.
        files_after: Number of files, with those of the versions that stay.
        bytes_before: Their bytes.
        bytes_after: Their bytes.
    """

    gallery: str
    items: int
    coarse_indexed: int
    versions_removed: int
    versions_kept: int
    files_before: int
    files_after: int
    bytes_before: int
    bytes_after: int

    def to_json(self) -> dict[str, Any]:
        """JSON values for a report."""
        return dict(vars(self))


@checked(
    gallery=GALLERY,
    keep=SECONDS,
    lock_timeout=SECONDS,
)
def compact(
    gallery: str | Path, *, keep: float = KEEP, lock_timeout: float = DEFAULT_TIMEOUT
) -> Compacted:
    """Write a gallery's items anew in few files, without those that were deleted.

    Items keep their order, and searches find what they found. Processes that search the gallery on
    disk read the version that they have opened until they refresh, as `serve` does by itself.

    Args:
        gallery: The gallery's directory.
        keep: Seconds for which old versions stay after they were succeeded, 0 to remove them now.
            Only then is nothing left of deleted items in any file.
        lock_timeout: Seconds to wait for another writer of the gallery to finish.

    Raises:
        GalleryBusyError: Another writer is at it for longer than ``lock_timeout``.
        GalleryError: The gallery is missing, or a file is not as it was written.
        OutputError: The disk has no space for the items beside what is there; the gallery is
            unchanged.
        UsageError: The gallery is in an object store.
    """
    gallery = in_no_store(
        "gallery",
        gallery,
        "copy it to a local directory, compact that, and copy it back, or index it again",
    )
    opened = Gallery.open(gallery, lock_timeout=lock_timeout)
    with opened.writing():
        before = files_of(opened.opened)
        removed = opened.compact(keep)
    after = files_of(opened.opened)
    return Compacted(
        *(opened.path, opened.count(), opened.coarse_indexed, removed, after.versions - 1),
        *(before.files, after.files, before.bytes, after.bytes),
    )
