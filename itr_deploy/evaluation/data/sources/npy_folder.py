"""A folder of ``ID.npy``, the features ``[R, Di]`` of an image each, without boxes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from itr_deploy.errors import InputError
from itr_deploy.evaluation.data.sources.arrays import damaged, features_shape, values
from itr_deploy.evaluation.data.sources.source import Entry, Item, checked_id


class NpyFolder:
    """Images in ``.npy`` files."""

    unit = "files"

    def __init__(self, files: Sequence[Path]) -> None:
        """Take the files, which are opened as they are read."""
        self._files = files

    def entries(self, tell: Callable[[int, int], object]) -> Iterator[Entry]:
        """Every file, by its header; see `Source.entries`.

        Raises:
            InputError: A file is no array ``[R, Di]`` of a float type.
        """
        for number, file in enumerate(self._files, 1):
            name = checked_id(file.stem, str(file))
            try:
                with file.open("rb") as content:
                    regions, width = features_shape(content, str(file))
            except InputError:
                raise
            except Exception as error:  # damaged headers raise the tokenizer's errors and others
                raise damaged(str(file), error) from error
            yield Entry(name, regions, width, False, False, file)
            tell(number, len(self._files))

    def read(self, entry: Entry) -> Item:
        """The features in a file; see `Source.read`.

        Raises:
            InputError: It is damaged.
        """
        try:
            with entry.file.open("rb") as content:
                return Item(values(content), None, None)
        except Exception as error:
            raise damaged(entry.where, error) from error
