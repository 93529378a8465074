"""HDF5 files as a source of images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path

from itr_deploy.evaluation.data.sources.hdf5.layout import layout_of
from itr_deploy.evaluation.data.sources.source import Entry, Item

OPEN = 16
"""Files that are open at once."""


class Hdf5Files:
    """Images in one HDF5 file or several, such as those of a data set's parts."""

    unit = "images"

    def __init__(self, files: Sequence[Path]) -> None:
        """Take the files, which are opened as they are read."""
        self._files = files
        self._layout = lru_cache(OPEN)(layout_of)

    def entries(self, tell: Callable[[int, int], object]) -> Iterator[Entry]:
        """Every image of every file; see `Source.entries`.

        Raises:
            InputError: A file is damaged or of no layout that is read.
            SetupError: h5py is not installed.
        """
        total, done = sum(len(self._layout(file)) for file in self._files), 0
        for file in self._files:
            for entry in self._layout(file).entries():
                done += 1
                yield entry
                tell(done, total)

    def read(self, entry: Entry) -> Item:
        """The values of an image; see `Source.read`.

        Raises:
            InputError: They are damaged.
        """
        return self._layout(entry.file).read(entry)
