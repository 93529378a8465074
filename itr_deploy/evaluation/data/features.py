"""Region features on disk: the one layout that is read, and the names of others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itr_deploy.errors import InputError, UsageError
from itr_deploy.runtime.encoding.regions import Regions

FILES = ("{split}_ims.npy", "{split}_feat.npy")
EXTRAS: dict[str, tuple[str, tuple[int | str, ...]]] = {
    "boxes": ("{split}_boxes.npy", ("R", 4)),
    "picture_sizes": ("{split}_img_sizes.npy", (2,)),
    "counts": ("{split}_region_counts.npy", ()),
}
"""Files beside the features by what `Regions` calls them, and their axes after the rows'."""


def check_split_name(split: str) -> None:
    """Refuse a split whose name cannot be that of a file.

    Raises:
        UsageError: It cannot.
    """
    if not split or "/" in split or "\0" in split or len(split) > 200:
        raise UsageError(
            f"split={split[:60]!r} (--split) must be a name such as 'test', the beginning of the "
            "files' names"
        )


def find_features(root: Path, split: str) -> NDArray[Any]:
    """The features of a split, mapped from disk: ``[rows, R, Di]``.

    Raises:
        InputError: The file is missing, damaged or of another layout; names the one found and how
            to convert it.
        UsageError: No file can have the split's name.
    """
    check_split_name(split)
    if not root.is_dir():
        raise InputError(f"{root}: no such directory; check data= (--data)")
    paths = [root / name.format(split=split) for name in FILES]
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        raise InputError(
            f"{root}: no {' or '.join(p.name for p in paths)}; {_other_layout(root, split)}"
        )
    return open_features(path)


def with_extras(features: NDArray[Any], root: Path, split: str) -> Regions:
    """A split's features with what lies beside them: boxes, picture sizes, counts of regions.

    Raises:
        InputError: One of the files is damaged or does not fit the features.
    """
    rows, positions = features.shape[:2]
    found: dict[str, Any] = {}
    for name, (file, shape) in EXTRAS.items():
        path = root / file.format(split=split)
        if path.is_file():
            wanted = (rows, *(positions if axis == "R" else axis for axis in shape))
            found[name] = _extra(path, wanted)
    return Regions(features, **found)


def _extra(path: Path, shape: tuple[int, ...]) -> NDArray[Any]:
    try:
        array: NDArray[Any] = np.lib.format.open_memmap(path, mode="r")
    except Exception as error:  # damaged headers raise the tokenizer's errors and others
        raise InputError(f"{path}: {not_an_array(path, error)}") from error
    if array.shape != shape:
        raise InputError(
            f"{path}: shape {list(array.shape)}; expected {list(shape)}, by the features"
        )
    return array


def open_features(path: Path) -> NDArray[Any]:
    """The array in a file, mapped from disk.

    Raises:
        InputError: It is not an array ``[rows, R, Di]`` of numbers.
    """
    try:
        features: NDArray[Any] = np.lib.format.open_memmap(path, mode="r")
    except Exception as error:  # damaged headers raise the tokenizer's errors and others
        raise InputError(f"{path}: {not_an_array(path, error)}") from error
    if features.ndim != 3:
        raise InputError(
            f"{path}: shape {list(features.shape)}; expected [images, regions, features]"
        )
    return features


def not_an_array(path: Path, error: Exception) -> str:
    """What a file holds that NumPy cannot read as an array of numbers, and how to convert it."""
    try:
        with path.open("rb") as file:
            start = file.read(512)
    except OSError:
        start = b""
    if start.startswith(b"PK"):
        return (
            'an archive (.npz); save the array alone: np.save("new.npy", np.load("old.npz")["x"])'
        )
    if b"'|O'" in start and start.startswith(b"\x93NUMPY"):
        return (
            "an array of objects, one per image; make one array [images, regions, features] of "
            "them: np.stack(list), if all have as many regions, else index them in groups that have"
        )
    if b"NUMPY" not in start[:8]:
        return "not a NumPy array (.npy); save one with np.save"
    said = " ".join(str(error).split())[:200]
    return f"not a NumPy array of numbers, or truncated: {said}"


def _other_layout(root: Path, split: str) -> str:
    """What lies there instead, and how to make what is read of it."""
    names = sorted(path.name for path in root.iterdir())
    archives = [name for name in names if name.endswith(".npz")]
    tables = [name for name in names if name.endswith((".tsv", ".hdf5", ".h5"))]
    if f"{split}_ims.npz" in names:
        return (
            f"{split}_ims.npz is an archive: np.save({split + '_ims.npy'!r}, "
            f'np.load({split + "_ims.npz"!r})["arr_0"])'
        )
    if archives:
        return (
            f"there are {len(archives)} .npz files, such as {archives[0][:60]!r}; "
            "itr_deploy.convert makes this layout of them (itr-deploy convert), and "
            "itr_deploy.index takes them as features= (--features)"
        )
    if tables:
        return (
            f"{tables[0][:60]!r} is an extractor's; itr_deploy.convert makes this layout of it "
            "(itr-deploy convert), and itr_deploy.index takes it as features= (--features)"
        )
    return "check data= and split= (--data, --split)"
