"""``shards.json``: the galleries that hold a large one's items, and which of them takes an id."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from itr_deploy.bundle.bound import read_regular
from itr_deploy.bundle.files import write_json
from itr_deploy.bundle.modality import Modality
from itr_deploy.bundle.record import Record
from itr_deploy.bundle.store import Bundle
from itr_deploy.errors import BundleError, GalleryError
from itr_deploy.paths import StoreUrl, gallery_place, local_path
from itr_deploy.runtime.gallery.given import checked_ids
from itr_deploy.values import PATH, checked

FILE = "shards.json"
MOST = 4_096
"""Shards of a gallery."""
MOST_BYTES = 4 << 20
"""Of the file."""

Hash = Literal["blake2b-64"]
"""The first 8 bytes of BLAKE2b of the id's UTF-8, as a number in network order."""


def shard_of(name: str, count: int) -> int:
    """The number of the shard that has an item: the same for ever and in every program.

    Examples:
        >>> shard_of("a.jpg", 4)
        1
    """
    # No stored id has half of a surrogate pair, but one that is asked for may.
    content = name.encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(content, digest_size=8).digest(), "big") % count


def shards_of(names: Iterable[str], count: int) -> NDArray[np.int64]:
    """The numbers of the shards that have some items, ``int64 [n]``."""
    return np.fromiter((shard_of(name, count) for name in names), np.int64)


class ShardRecord(Record):
    """A shard as it was made.

    Attributes:
        path: Its gallery, from the directory that ``shards.json`` is in.
        version: The gallery's version then.
        items: Its number of items then.
    """

    path: str
    version: int
    items: int


class ShardsRecord(Record):
    """What is written in ``shards.json``.

    Attributes:
        format: Of this file.
        encoding_id: Encoding id of the bundle whose encoders made the items.
        modality: Modality of the items.
        count: Number of shards.
        hash: What gives a shard's number, modulo ``count``.
        shards: The shards, by their numbers.
    """

    format: Literal[1] = 1
    encoding_id: str
    modality: Modality
    count: int = Field(ge=1, le=MOST)
    hash: Hash = "blake2b-64"
    shards: tuple[ShardRecord, ...]


class Shards:
    """A gallery in shards, each of them an ordinary gallery.

    `path_of` and `split` say which of them takes an id, for changes.
    """

    def __init__(self, root: Path, record: ShardsRecord) -> None:
        """Take what `open` has read."""
        self.root, self.record = root, record
        self.paths = tuple(root / shard.path for shard in record.shards)
        """The shards' galleries, by their numbers."""

    def __repr__(self) -> str:
        """Number, modality and path."""
        return f"<{len(self)} shards of {self.record.modality}s {str(self.root)!r}>"

    def __len__(self) -> int:
        return self.record.count

    @classmethod
    @checked(path=PATH)
    def open(cls, path: str | Path) -> Shards:
        """Read a ``shards.json``, given itself or by its directory; no shard is opened.

        Raises:
            GalleryError: It is missing, damaged or of a newer release, or names a gallery that is
                not beside it.
        """
        place = local_path(path)
        file = place / FILE if place.is_dir() else place
        record = _read(file)
        if len(record.shards) != record.count:
            raise _damaged(file, f"{len(record.shards)} shards are listed, {record.count} counted")
        for shard in record.shards:
            parts = Path(shard.path).parts
            if len(parts) != 1 or parts[0] in ("..", "/") or "\0" in shard.path:
                raise _damaged(file, f"a shard is {shard.path!r:.60}, not a directory beside it")
        if len({shard.path for shard in record.shards}) < record.count:
            raise _damaged(file, "a shard is listed twice")
        return cls(file.parent, record)

    def path_of(self, id: str) -> Path:
        """The gallery that has, or takes, the item with an id.

        Raises:
            GalleryError: It is no id.
        """
        (name,) = checked_ids([id])
        return self.paths[shard_of(name, len(self))]

    def split(self, ids: Sequence[str]) -> dict[Path, list[int]]:
        """Which of some items each gallery has, or takes.

        Returns:
            For every gallery that has any, the places of its items in ``ids``.

        Raises:
            GalleryError: One is no id, or is given twice.
        """
        found: dict[Path, list[int]] = {}
        for place, number in enumerate(shards_of(checked_ids(ids), len(self)).tolist()):
            found.setdefault(self.paths[number], []).append(place)
        return found

    def check_encoding(self, bundle: Bundle) -> None:
        """Refuse a bundle whose encoders did not make the shards.

        Raises:
            GalleryError: They did not.
        """
        made_by, given = self.record.encoding_id, bundle.manifest.encoding_id
        if made_by != given:
            raise GalleryError(
                f"{self.root / FILE}: made with another bundle (encoding {made_by[:12]}, "
                f"{bundle.path} has {given[:12]}); index again with this one and shard that"
            )


def check_own(path: object, ids: Sequence[str], number: int, count: int) -> None:
    """Refuse a shard that has items of others, which would be found twice, or never.

    Args:
        path: The shard's gallery.
        ids: Of its items.
        number: The shard's number.
        count: Number of shards.

    Raises:
        GalleryError: It has.
    """
    wrong = np.flatnonzero(shards_of(ids, count) != number)
    if len(wrong):
        raise GalleryError(
            f"{path}: item {str(ids[int(wrong[0])])!r} belongs to another shard ({len(wrong)} do); "
            "delete it here and add it where Shards.path_of says"
        )


def is_shards(path: object) -> bool:
    """Whether a path is of a ``shards.json`` or of a directory with one.

    It is in an object store too, where none can be read, so that it is refused as what it is.
    """
    if not isinstance(path, (str, Path)) or not str(path):
        return False
    place = gallery_place(path)
    if isinstance(place, StoreUrl):
        return place.endswith(f"/{FILE}")
    return place.name == FILE or (place / FILE).is_file()


def write_shards(root: Path, record: ShardsRecord) -> None:
    """Write ``shards.json``, which makes the directory one of shards."""
    write_json(root / FILE, record.model_dump(mode="json"))


def _read(file: Path) -> ShardsRecord:
    try:
        if file.stat().st_size > MOST_BYTES:
            raise _damaged(file, f"larger than {MOST_BYTES >> 20} MiB")
        content = read_regular(file)
        return ShardsRecord.model_validate_json(content)
    except FileNotFoundError as error:
        raise GalleryError(f"{file}: no such file; make one with itr-deploy shard") from error
    except (OSError, BundleError) as error:
        raise GalleryError(f"{file}: cannot be read: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        if first["loc"] == ("format",):
            raise GalleryError(
                f"{file}: of a format that this release does not read; upgrade with pip install -U "
                "itr-deploy"
            ) from error
        raise _damaged(file, f"{where}: {first['msg']}" if where else first["msg"]) from error


def _damaged(file: Path, why: str) -> GalleryError:
    return GalleryError(f"{file}: damaged: {why}; make the shards again with itr-deploy shard")
