"""What every layout of HDF5 gives, and which one a file has."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from itr_deploy.errors import InputError
from itr_deploy.evaluation.data.sources.hdf5.contents import (
    FEATURES,
    is_array,
    is_float,
    listed,
    member,
    opened,
    reading,
)
from itr_deploy.evaluation.data.sources.hdf5.named import Grouped, Named
from itr_deploy.evaluation.data.sources.hdf5.rows import Rows
from itr_deploy.evaluation.data.sources.source import Entry, Item


class Layout(Protocol):
    """The images of an open file."""

    def __len__(self) -> int:
        """Their number."""
        ...

    def entries(self) -> Iterator[Entry]:
        """Every image, without its values."""
        ...

    def read(self, entry: Entry) -> Item:
        """The values of an image."""
        ...


def layout_of(path: Path) -> Layout:
    """The layout of a file, told by what it holds.

    Raises:
        InputError: It is damaged, or of no layout that is read; lists what it holds.
        SetupError: h5py is not installed.
    """
    root = opened(path)
    with reading(str(path)):
        names = list(root)
        odd = next((name for name in names if not isinstance(name, str)), None)
        if odd is not None:
            raise InputError(f"{path}: the name {odd[:60]!r} in it is not UTF-8")
        if any(name in FEATURES for name in names):
            return Rows(root, path)
        first = member(root, names[0], str(path)) if names else None
        if first is not None and not is_array(first):
            return Grouped(root, path, names)
        if Named.suffixed(names) or is_float(first, 2):
            return Named(root, path, names)
        raise InputError(
            f"{path}: is HDF5 of no layout that is read: it holds {listed(root)}; expected "
            "image_features or features of all images, ID_features of each, a group of each with "
            "features, or arrays [regions, features] named by ids"
        )
