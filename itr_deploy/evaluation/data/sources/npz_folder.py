"""A folder of ``ID.npz``, one an image, as the bottom-up-attention programs in PyTorch write them.

``x`` are the features ``[R, Di]`` (``feat`` in captioning programs), ``bbox`` the boxes ``[R, 4]``,
``num_bbox`` how many of the rows are regions, ``image_w`` and ``image_h`` the picture's size. All
but the features may be missing. ``info`` is a pickle and is never read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zipfile import ZipFile

from numpy.typing import NDArray

from itr_deploy.errors import InputError
from itr_deploy.evaluation.data.sources.arrays import damaged, features_shape, values
from itr_deploy.evaluation.data.sources.source import Entry, Item, checked_id, checked_size

FEATURES = ("x", "feat")
SIZE = ("image_w", "image_h")


class NpzFolder:
    """Images in ``.npz`` files."""

    unit = "files"

    def __init__(self, files: Sequence[Path]) -> None:
        """Take the files, which are opened as they are read."""
        self._files = files

    def entries(self, tell: Callable[[int, int], object]) -> Iterator[Entry]:
        """Every file, by the headers of its arrays; see `Source.entries`.

        Raises:
            InputError: A file has no features, or counts more regions than there are.
        """
        for number, file in enumerate(self._files, 1):
            with _opened(file) as archive:
                yield _entry(file, archive)
            tell(number, len(self._files))

    def read(self, entry: Entry) -> Item:
        """The arrays in a file; see `Source.read`.

        Raises:
            InputError: One is damaged, or the boxes are not as many as the features.
        """
        where = entry.where
        with _opened(entry.file) as archive:
            features = _array(archive, _features(archive, where))[: entry.regions]
            boxes = size = None
            if entry.boxes:
                boxes = _array(archive, "bbox")
                fits = boxes.shape[1:] == (4,) and len(boxes) >= entry.regions
                if not fits or boxes.dtype.kind not in "iuf":
                    raise InputError(
                        f"{where}: bbox is {boxes.dtype} {list(boxes.shape)}; expected numbers "
                        f"[{entry.regions}, 4]"
                    )
                boxes = boxes[: entry.regions]
            if entry.size:
                width, height = (_number(archive, name, where) for name in SIZE)
                size = checked_size(width, height, where)
        return Item(features, boxes, size)


def _entry(file: Path, archive: ZipFile) -> Entry:
    name, where = checked_id(file.stem, str(file)), str(file)
    names = set(archive.namelist())
    with archive.open(f"{_features(archive, where)}.npy") as content:
        rows, width = features_shape(content, where)
    regions = rows
    if "num_bbox.npy" in names:
        counted = _number(archive, "num_bbox", where)
        if not (counted.is_integer() and 0 <= counted <= rows):
            raise InputError(
                f"{where}: num_bbox is {counted:g}; there are features of {rows} regions"
            )
        regions = int(counted)
    sized = all(f"{part}.npy" in names for part in SIZE)
    return Entry(name, regions, width, "bbox.npy" in names, sized, file)


@contextmanager
def _opened(file: Path) -> Iterator[ZipFile]:
    """An archive; whatever a damaged one raises is one clear error."""
    try:
        with ZipFile(file) as archive:
            yield archive
    except InputError:
        raise
    except Exception as error:  # zlib's errors, the header's and others
        raise damaged(str(file), error) from error


def _features(archive: ZipFile, where: str) -> str:
    names = [name.removesuffix(".npy") for name in archive.namelist()]
    found = next((name for name in FEATURES if name in names), None)
    if found is None:
        there = ", ".join(sorted(names))[:200] or "nothing"
        raise InputError(f"{where}: no array {' or '.join(FEATURES)}; it holds {there}")
    return found


def _array(archive: ZipFile, name: str) -> NDArray[Any]:
    with archive.open(f"{name}.npy") as content:
        return values(content)


def _number(archive: ZipFile, name: str, where: str) -> float:
    found = _array(archive, name)
    if found.size != 1 or found.dtype.kind not in "iuf":
        raise InputError(
            f"{where}: {name} is {found.dtype} {list(found.shape)}; expected one number"
        )
    return float(found.reshape(-1)[0])
