"""Where the regions of a gallery's images are, read back."""

from __future__ import annotations

from collections.abc import Container, Sequence

import numpy as np

from itr_deploy.errors import GalleryError
from itr_deploy.runtime.encoding.places import Placed
from itr_deploy.runtime.gallery.layout import BOXES, ID, PICTURE_SIZE, has_boxes, named
from itr_deploy.runtime.gallery.table import GalleryTable


def read_boxes(table: GalleryTable, names: Sequence[str]) -> list[Placed | None]:
    """The places of some images' regions, in the order of ``names``.

    Raises:
        GalleryError: There is no such image.
    """
    kept = [ID, BOXES, PICTURE_SIZE] if has_boxes(table.state.schema) else [ID]
    found = table.ask(
        lambda lance: lance.search().where(named(names)).select(kept).limit(None).to_arrow()
    ).to_pydict()
    place = {name: number for number, name in enumerate(found[ID])}
    check_there(table.path, names, place)
    if BOXES not in found:
        return [None] * len(names)
    return [_placed(found[BOXES][place[n]], found[PICTURE_SIZE][place[n]]) for n in names]


def check_there(path: str, names: Sequence[str], found: Container[str]) -> None:
    """Refuse ids that were not found.

    Raises:
        GalleryError: One was not.
    """
    absent = [name for name in names if name not in found]
    if absent:
        raise GalleryError(f"{path}: no item {absent[0]!r} ({len(absent)} are absent)")


def _placed(boxes: list[float] | None, size: list[float] | None) -> Placed | None:
    if boxes is None or size is None:
        return None
    return Placed(np.array(boxes, np.float32).reshape(-1, 4), np.array(size, np.float32))
