"""HDF5 that names each image's arrays by its id.

``ID_features [R, Di]`` with ``ID_boxes [R, 4]``, as captioning programs have it; ``ID`` alone; or a
group ``ID`` of ``features``, ``bbox``, ``num_boxes``, ``image_w`` and ``image_h``, of which all but
the features may be missing or attributes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itr_deploy.errors import InputError
from itr_deploy.evaluation.data.sources.hdf5.contents import (
    BOXES,
    COUNTS,
    FEATURES,
    SIZE,
    are_fractions,
    array,
    checked_shape,
    described,
    is_array,
    is_float,
    listed,
    member,
    reading,
)
from itr_deploy.evaluation.data.sources.source import Entry, Item, checked_id, checked_size

SUFFIX, OF_BOXES = "_features", "_boxes"


class Named:
    """Arrays ``ID_features`` and ``ID_boxes``, or ``ID``."""

    def __init__(self, root: Any, path: Path, names: Sequence[str]) -> None:
        """Take an open file's names."""
        self._root, self._path = root, path
        self._suffix = SUFFIX if self.suffixed(names) else ""
        self._names = [name for name in names if name.endswith(self._suffix)]
        known = {name.removesuffix(self._suffix) for name in self._names}
        other = next((name for name in names if not _belongs(name, known)), None)
        if other is not None:
            raise InputError(
                f"{path}: {other[:60]!r} is of no image: there is no {_stem(other)[:60]}{SUFFIX}; "
                f"it holds {listed(root)}"
            )

    @staticmethod
    def suffixed(names: Sequence[str]) -> bool:
        """Whether names are those of images with ``_features`` after them."""
        return any(name.endswith(SUFFIX) and name != SUFFIX for name in names)

    def __len__(self) -> int:
        return len(self._names)

    def entries(self) -> Iterator[Entry]:
        """Every image; see `Source.entries`.

        Raises:
            InputError: Its features are none.
        """
        for number, name in enumerate(self._names):
            bare = name.removesuffix(self._suffix)
            own = checked_id(bare, str(self._path))
            where = f"{self._path}: image {own!r}"
            with reading(where):
                regions, width = _shape(member(self._root, name, where), where)
                placed = bool(self._suffix) and bare + OF_BOXES in self._root
            yield Entry(own, regions, width, placed, False, self._path, offset=number, alone=False)

    def read(self, entry: Entry) -> Item:
        """The values of an image; see `Source.read`.

        Raises:
            InputError: They are damaged.
        """
        where = entry.where
        with reading(where):
            name = self._names[entry.offset]
            features = member(self._root, name, where)[()]
            boxes = None
            if entry.boxes:
                found = member(self._root, name.removesuffix(SUFFIX) + OF_BOXES, where)
                boxes = _boxes(found, entry.regions, where)
        return Item(features, boxes, None)


class Grouped:
    """A group an image."""

    def __init__(self, root: Any, path: Path, names: Sequence[str]) -> None:
        """Take an open file's names."""
        self._root, self._path, self._names = root, path, names

    def __len__(self) -> int:
        return len(self._names)

    def entries(self) -> Iterator[Entry]:
        """Every image; see `Source.entries`.

        Raises:
            InputError: A group has no features, or counts more regions than there are.
        """
        for number, name in enumerate(self._names):
            own = checked_id(name, str(self._path))
            where = f"{self._path}: image {own!r}"
            with reading(where):
                group = self._group(name, where)
                rows, width = _shape(_features(group, where), where)
                count = _number(group, COUNTS, where)
                if count is not None and not (count.is_integer() and 0 <= count <= rows):
                    raise InputError(
                        f"{where}: has {count:g} regions by its count; there are features of {rows}"
                    )
                placed = array(group, BOXES, where) is not None
                sized = all(_number(group, names, where) is not None for names in SIZE)
            regions = rows if count is None else int(count)
            yield Entry(own, regions, width, placed, sized, self._path, offset=number, alone=False)

    def read(self, entry: Entry) -> Item:
        """The values of an image; see `Source.read`.

        Raises:
            InputError: They are damaged.
        """
        where = entry.where
        with reading(where):
            group = self._group(self._names[entry.offset], where)
            features = _features(group, where)[: entry.regions]
            boxes = size = None
            if entry.size:
                width, height = (_number(group, names, where) or 0.0 for names in SIZE)
                size = checked_size(width, height, where)
            if entry.boxes:
                boxes = _boxes(array(group, BOXES, where), entry.regions, where)
                if size is not None and are_fractions(boxes):
                    boxes = boxes * np.array([*size, *size], np.float32)
        return Item(features, boxes, size)

    def _group(self, name: str, where: str) -> Any:
        found = member(self._root, name, where)
        if is_array(found):
            raise InputError(f"{where}: is an array, and others are groups; it holds both")
        return found


def _features(group: Any, where: str) -> Any:
    found = array(group, FEATURES, where)
    if found is None:
        raise InputError(f"{where}: no array {' or '.join(FEATURES)}; it holds {listed(group)}")
    return found


def _shape(found: Any, where: str) -> tuple[int, int]:
    """Regions and features of an image.

    Raises:
        InputError: It is no array of them.
    """
    if not is_float(found, 2):
        raise InputError(
            f"{where}: features are {described(found)}; expected floats [regions, features]"
        )
    return found.shape[0], found.shape[1]


def _boxes(found: Any, regions: int, where: str) -> NDArray[Any]:
    checked_shape(found, (None, 4), "iuf", where)
    if len(found) < regions:
        raise InputError(f"{where}: {described(found)}; expected numbers [{regions}, 4]")
    boxes: NDArray[Any] = found[:regions]
    return boxes


def _number(group: Any, names: Sequence[str], where: str) -> float | None:
    """A number that is an array of one, or an attribute; None if it is not there."""
    found = array(group, names, where)
    given = [found[()]] if found is not None else []
    given += [group.attrs[name] for name in names if name in group.attrs]
    if not given:
        return None
    values = np.asarray(given[0])
    if values.size != 1 or values.dtype.kind not in "iuf":
        raise InputError(
            f"{where}: {names[0]} is {values.dtype} {list(values.shape)}; expected one number"
        )
    return float(values.reshape(-1)[0])


def _stem(name: str) -> str:
    return name.rpartition("_")[0] or name


def _belongs(name: str, known: set[str]) -> bool:
    """Whether an array is an image's, such as ``ID_cls_prob``."""
    return name in known or any(name[:at] in known for at, sign in enumerate(name) if sign == "_")
