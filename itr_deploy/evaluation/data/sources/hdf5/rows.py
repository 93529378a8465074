"""HDF5 whose arrays hold all images, as the VQA and captioning programs write it.

``image_features [N, R, Di]`` with ``image_bb [N, R, 4]`` and ``spatial_features [N, R, 6]``; with
``pos_boxes [N, 2]``, the first row of each image and the one after its last, the others are
``[rows, ..]``. Elsewhere they are ``features`` and ``boxes``, with ``num_boxes [N]`` and pictures'
sizes, each a row of any length or padded. `ids` says whose the rows are.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
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
    library,
    listed,
    reading,
)
from itr_deploy.evaluation.data.sources.hdf5.ids import ids_of_rows
from itr_deploy.evaluation.data.sources.source import Entry, Item, checked_size

log = logging.getLogger(__name__)

RANGES, FRACTIONS = ("pos_boxes",), ("spatial_features",)
"""``spatial_features`` begin with the boxes in fractions of the picture."""
TOLERANCE = 1e-3
"""Of a fraction; where boxes and fractions differ by more, they are not of one picture."""


class Rows:
    """The images of a file whose arrays hold all of them."""

    def __init__(self, root: Any, path: Path) -> None:
        """Check how the arrays fit each other; their values are checked as they are read.

        Raises:
            InputError: They do not, or nothing says the ids.
        """
        self._path, where = path, str(path)
        self._features = array(root, FEATURES, where)
        self._ranges = _whole_numbers(array(root, RANGES, where), 2, where)
        self._counts = _whole_numbers(array(root, COUNTS, where), 1, where)
        self._any_length = _is_of_any_length(self._features)
        self._check_features(root)
        self._rows = len(self._features if self._ranges is None else self._ranges)
        if self._counts is not None and len(self._counts) != self._rows:
            raise InputError(
                f"{where}: {len(self._counts)} counts of regions for {self._rows} rows"
            )
        self._boxes = self._beside(array(root, BOXES, where), 4)
        self._fractions = self._beside(array(root, FRACTIONS, where), 6)
        self._sizes = self._sizes_of_pictures(root)
        self._ids = ids_of_rows(root, path, self._rows)
        self._scaled = self._boxes_are_fractions()

    def __len__(self) -> int:
        return len(self._ids)

    def entries(self) -> Iterator[Entry]:
        """Every image whose id is known; see `Source.entries`.

        Raises:
            InputError: A range or a count does not fit.
        """
        if len(self._ids) < self._rows:
            log.warning(
                "%s: %d of %d rows have no id and are left out",
                *(self._path, self._rows - len(self._ids), self._rows),
            )
        sized = self._sizes is not None or (self._fractions is not None and not self._scaled)
        placed = self._boxes is not None and (sized or not self._scaled)
        if self._boxes is not None and not placed:
            log.warning(
                "%s: its boxes are fractions of pictures whose sizes it does not hold; they are "
                "left out",
                self._path,
            )
        with reading(str(self._path)):
            width = self._width()
        for row, name in self._ids.items():
            regions = self._extent(row)[1]
            yield Entry(name, regions, width, placed, sized, self._path, offset=row, alone=False)

    def read(self, entry: Entry) -> Item:
        """The values of an image; see `Source.read`.

        Raises:
            InputError: They are damaged, or its boxes fit no picture.
        """
        where = entry.where
        with reading(where):
            features = self._values(self._features, entry.offset, where)
            boxes = size = None
            if entry.boxes:
                boxes = self._values(self._boxes, entry.offset, where)
            if entry.size:
                size = self._size(entry.offset, boxes, where)
        if boxes is not None and size is not None and self._scaled:
            boxes = boxes * np.array([*size, *size], np.float32)
        return Item(features, boxes, size)

    def _check_features(self, root: Any) -> None:
        found, where = self._features, str(self._path)
        axes = len(found.shape or ())
        if self._any_length:
            fits = axes == 1 and self._counts is not None
        else:
            fits = found.dtype.kind == "f" and axes == (3 if self._ranges is None else 2)
        if not fits:
            raise InputError(
                f"{where}: features are {described(found)}; expected floats [images, regions, "
                "features], [rows, features] with pos_boxes, or rows of any length with num_boxes; "
                f"it holds {listed(root)}"
            )

    def _beside(self, found: Any, width: int) -> Any:
        """An array that goes with the features, checked."""
        if found is None:
            return None
        where = str(self._path)
        if self._any_length:
            if not _is_of_any_length(found):
                raise InputError(f"{where}: {described(found)}; expected rows of any length")
            checked_shape(found, (self._rows,), "O", where)
        else:
            checked_shape(found, (*self._features.shape[:-1], width), "iuf", where)
        return found

    def _sizes_of_pictures(self, root: Any) -> NDArray[Any] | None:
        found = [array(root, names, str(self._path)) for names in SIZE]
        if any(one is None for one in found):
            return None
        for one in found:
            checked_shape(one, (self._rows,), "iuf", str(self._path))
        return np.stack([one[()] for one in found], axis=1).astype(float)

    def _boxes_are_fractions(self) -> bool:
        """Whether boxes are in fractions of the picture, by the first image that has some."""
        if self._boxes is None:
            return False
        row = next((row for row in self._ids if self._extent(row)[1]), None)
        return row is not None and are_fractions(
            self._values(self._boxes, row, f"{self._path}: image {self._ids[row]!r}")
        )

    def _width(self) -> int:
        """Number of features of a region."""
        if not self._any_length:
            return int(self._features.shape[-1])
        row = next((row for row in self._ids if self._extent(row)[1]), None)
        if row is None:
            return 0
        return len(self._features[row]) // self._extent(row)[1]

    def _extent(self, row: int) -> tuple[int, int]:
        """The first of an image's rows among those of all images, if it has such; their number.

        Raises:
            InputError: The file's ranges or counts are wrong.
        """
        where = f"{self._path}: image {self._ids[row]!r}"
        if self._ranges is not None:
            start, end = self._ranges[row].tolist()
            if not 0 <= start <= end <= len(self._features):
                raise InputError(
                    f"{where}: its rows are {start} to {end} by pos_boxes; there are "
                    f"{len(self._features)}"
                )
            return start, end - start
        most = None if self._any_length else int(self._features.shape[1])
        if self._counts is None:
            return 0, most or 0
        count = int(self._counts[row])
        if count < 0 or (most is not None and count > most):
            raise InputError(f"{where}: has {count} regions by its count; there are {most} rows")
        return 0, count

    def _values(self, found: Any, row: int, where: str) -> NDArray[Any]:
        """An image's part of an array, ``[R, ..]``."""
        start, count = self._extent(row)
        if self._ranges is not None:
            values: NDArray[Any] = found[start : start + count]
        elif self._any_length:
            values = found[row]
            if not count or len(values) % count:
                raise InputError(
                    f"{where}: {len(values)} numbers do not divide into {count} regions"
                )
            values = values.reshape(count, -1)
        else:
            values = found[row, :count]
        return values

    def _size(self, row: int, boxes: NDArray[Any] | None, where: str) -> tuple[float, float] | None:
        """A picture's size, as it is stated or by its boxes in pixels and in fractions."""
        if self._sizes is not None:
            width, height = self._sizes[row].tolist()
            return checked_size(width, height, where)
        if boxes is None or not len(boxes):
            return None
        fractions = self._values(self._fractions, row, where)
        size = checked_size(
            _side(boxes[:, 2], fractions[:, 2]), _side(boxes[:, 3], fractions[:, 3]), where
        )
        off = np.abs(boxes / np.array([*size, *size]) - fractions[:, :4]).max()
        if not off < TOLERANCE:
            raise InputError(
                f"{where}: image_bb and spatial_features are not of one picture: they differ by "
                f"{off:.3g} of it"
            )
        return size


def _whole_numbers(found: Any, axes: int, where: str) -> NDArray[np.int64] | None:
    """The values of an array ``[N]`` or ``[N, 2]``, None if there is none."""
    if found is None:
        return None
    checked_shape(found, (None, 2)[:axes], "iu", where)
    values: NDArray[np.int64] = found[()].astype(np.int64)
    return values


def _side(ends: NDArray[Any], fractions: NDArray[Any]) -> float:
    """How long a picture's side is, by the ends of boxes in pixels and in fractions of it."""
    far = int(np.argmax(ends))
    side = float(ends[far]) / (float(fractions[far]) or np.nan)
    near = np.rint(side)
    # A whole number of pixels, up to rounding.
    return float(near) if abs(side - near) < 0.05 else side


def _is_of_any_length(found: Any) -> bool:
    """Whether every row of an array is a list of floats of its own length."""
    kind = library().check_vlen_dtype(found.dtype)
    return kind is not None and np.dtype(kind).kind == "f"
