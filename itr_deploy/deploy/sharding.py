"""`shard`: a large gallery as several ones, which several machines search together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from itr_deploy.bundle.leftovers import entries
from itr_deploy.bundle.modality import Modality
from itr_deploy.bundle.staging import check_output, staged_directory
from itr_deploy.deploy.indexed import index_if_large
from itr_deploy.errors import OutputError
from itr_deploy.runtime.gallery import Gallery
from itr_deploy.runtime.gallery.sharding.shards import (
    FILE,
    MOST,
    ShardRecord,
    ShardsRecord,
    write_shards,
)
from itr_deploy.runtime.gallery.sharding.splitting import row_ids_by_shard, write_shard
from itr_deploy.values import FLAG, FUNCTION, PATH, checked, or_none, whole


@dataclass(frozen=True)
class Sharded:
    """A gallery in shards.

    Attributes:
        shards: Their ``shards.json``.
        modality: Modality of the items.
        items: Number of items of every shard, by the shards' numbers.
        coarse_indexed: Number of items in the shards' coarse indexes.
    """

    shards: str
    modality: Modality
    items: tuple[int, ...]
    coarse_indexed: int

    def to_json(self) -> dict[str, Any]:
        """JSON values for a report."""
        return {**vars(self), "items": list(self.items)}


@checked(
    gallery=PATH,
    count=whole(1, MOST),
    output=PATH,
    coarse_index=or_none(FLAG),
    progress=FUNCTION,
)
def shard(
    gallery: str | Path,
    *,
    count: int,
    output: str | Path,
    coarse_index: bool | None = None,
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> Sharded:
    """Split a gallery into shards, each of them an ordinary gallery.

    An item's shard follows from its id alone. Values are copied as they are stored, and nothing is
    encoded, so that a search over all shards finds what a search of the gallery finds. The gallery
    stays as it is; the directory appears when all of it is written.

    Args:
        gallery: The gallery's directory.
        count: Number of shards.
        output: The directory to make: ``shards.json`` and ``shard-0000``, ``shard-0001``, ...
        coarse_index: Whether to build every shard's coarse index; None from 500,000 items of a
            shard on.
        progress: Called with the number of items that are written, and of all.

    Raises:
        GalleryError: The gallery is missing or damaged, or a shard would be empty.
        OutputError: The output exists or is inside the gallery, or the disk refuses.
        UsageError: There are fewer items than shards.
    """
    root = Path(output)
    check_output(root, force=None, replaceable=is_shards_only, kind="directory of shards")
    source = Gallery.open(gallery).snapshot()
    if Path(source.path).resolve() in root.resolve().parents:
        raise OutputError(
            f"{root} is inside the gallery that is split; choose another output (--output)"
        )
    # What is damaged would get checksums that fit.
    source.opened.check_contents()
    rows = row_ids_by_shard(source, count)
    done, total = 0, sum(map(len, rows))

    def written(items: int) -> None:
        nonlocal done
        done += items
        progress(done, total)

    progress(0, total)
    records, indexed = [], 0
    staged = staged_directory(
        root, force=None, replaceable=is_shards_only, kind="directory of shards", last=FILE
    )
    with staged as place:
        for number, own in enumerate(rows):
            made = write_shard(source, place / f"shard-{number:04}", own, written)
            index_if_large(made, coarse_index)
            indexed += made.coarse_indexed
            records.append(
                ShardRecord(path=f"shard-{number:04}", version=made.version, items=len(own))
            )
        about = source.description
        write_shards(
            place,
            ShardsRecord(
                encoding_id=about.encoding_id,
                modality=about.modality,
                count=count,
                shards=tuple(records),
            ),
        )
    items = tuple(record.items for record in records)
    return Sharded(str(root / FILE), about.modality, items, indexed)


def is_shards_only(path: Path) -> bool:
    """Whether a directory holds shards and nothing else."""
    names = entries(path)
    return FILE in names and all(name == FILE or name.startswith("shard-") for name in names)
