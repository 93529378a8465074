"""What every format gives: a list of its images, and any one of them by its entry."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from itr_deploy.errors import InputError


@dataclass(frozen=True)
class Entry:
    """An image in a source, without its values.

    Attributes:
        id: Its id.
        regions: Number of its regions.
        width: Number of features of each.
        boxes: Whether its boxes are there.
        size: Whether its picture's size is there.
        file: The file that holds it.
        line: Number of its line from 1, of a table.
        offset: Where the line begins, in bytes; or the number of its row in the arrays of a file.
        alone: Whether the file holds nothing else.
    """

    id: str
    regions: int
    width: int
    boxes: bool
    size: bool
    file: Path
    line: int = 0
    offset: int = 0
    alone: bool = True

    @property
    def where(self) -> str:
        """File, line and id, for a message."""
        if self.line:
            return f"{self.file}: line {self.line}, image {self.id!r}"
        return str(self.file) if self.alone else f"{self.file}: image {self.id!r}"


@dataclass(frozen=True, eq=False)
class Item:
    """An image of a source.

    Attributes:
        features: ``[R, Di]`` of a float type.
        boxes: ``[R, 4]``, x1, y1, x2, y2 in pixels, None if they are not there.
        size: Width and height of the picture in pixels, None if they are not there.
    """

    features: NDArray[np.floating]
    boxes: NDArray[np.floating] | None
    size: tuple[float, float] | None


class Source(Protocol):
    """Images in files of one format."""

    @property
    def unit(self) -> str:
        """What `entries` counts as it goes on."""

    def entries(self, tell: Callable[[int, int], object]) -> Iterator[Entry]:
        """Every image in the order of the files, as often as it is there.

        Args:
            tell: Called with how much was looked through, and of how much.

        Raises:
            InputError: A file is damaged or of another layout; names it and its line.
        """

    def read(self, entry: Entry) -> Item:
        """The values of an image.

        Raises:
            InputError: They are damaged.
        """


def checked_id(name: str, where: str) -> str:
    """An image's id, which has a line of its own in a file of ids.

    Raises:
        InputError: It is empty or no line of UTF-8.
    """
    own = name.strip()
    if not own or any(mark in own for mark in "\n\r\0") or not _is_unicode(own):
        raise InputError(f"{where}: {name[:60]!r} is no id of an image; expected one line of text")
    return own


def checked_size(width: float, height: float, where: str) -> tuple[float, float]:
    """A picture's size.

    Raises:
        InputError: It is not finite, or not above 0.
    """
    if not (0 < width < float("inf") and 0 < height < float("inf")):
        raise InputError(f"{where}: its picture is {width:g} x {height:g} pixels; extract it again")
    return width, height


def checked_features(item: Item, entry: Entry) -> NDArray[np.float32]:
    """An image's features as contiguous float32.

    Raises:
        InputError: They are not of the shape that they had, not finite, or a region is 0.
    """
    with np.errstate(over="ignore"):
        features = np.ascontiguousarray(item.features, "<f4")
    if features.shape != (entry.regions, entry.width):
        raise InputError(f"{entry.where}: was changed while it was read; start again")
    if not np.isfinite(features).all():
        raise InputError(f"{entry.where}: its features hold NaN or infinity; extract them again")
    zeros = ~features.any(axis=1)
    if zeros.any():
        raise InputError(
            f"{entry.where}: region {int(np.argmax(zeros))} is all 0, as padding is and no "
            "extractor gives it; leave padding out, or say in num_bbox of an .npz how many rows "
            "are regions"
        )
    return features


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # a file's name of other bytes
        return False
    return True
