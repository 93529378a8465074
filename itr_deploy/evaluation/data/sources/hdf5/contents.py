"""What HDF5 files hold, through h5py, which is imported when one is met.

Only values that lie in the file itself are read: links and virtual or external arrays may lead to
any file of the machine.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itr_deploy.errors import InputError, SetupError
from itr_deploy.evaluation.data.sources.arrays import damaged

FEATURES = ("image_features", "features", "feat", "x")
BOXES = ("image_bb", "bbox", "bboxes", "boxes")
COUNTS = ("num_boxes", "num_bbox")
SIZE = (("image_w", "width", "img_w"), ("image_h", "height", "img_h"))
"""What programs call the same thing, alone or once per image."""
CHUNKS = 64 << 20
"""Bytes of decompressed chunks that are kept, as a chunk may hold several images."""
SHOWN = 6


def library() -> Any:
    """The module h5py.

    Raises:
        SetupError: It is not installed.
    """
    try:
        import h5py
    except ModuleNotFoundError as error:
        raise SetupError(
            "h5py, which reads HDF5, is not installed; pip install 'itr-deploy[hdf5]'"
        ) from error
    return h5py


@contextmanager
def reading(where: str) -> Iterator[None]:
    """Make one clear error of whatever h5py raises for a damaged file."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # OSError, KeyError, RuntimeError and others
        raise damaged(where, error) from error


def opened(path: Path) -> Any:
    """A file, open for reading until nothing refers to it.

    Raises:
        InputError: It is damaged, or cannot be read.
        SetupError: h5py is not installed.
    """
    h5py = library()
    with reading(str(path)):
        # Some network file systems have no locks.
        return h5py.File(path, "r", locking="best-effort", rdcc_nbytes=CHUNKS)


def member(group: Any, name: str, where: str) -> Any:
    """The array or group of a name.

    Raises:
        InputError: It is a link, or its values are in other files.
    """
    h5py = library()
    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        raise InputError(f"{where}: {name!r} is a link, which is not followed; h5repack copies it")
    found = group[name]
    if isinstance(found, h5py.Dataset) and (found.is_virtual or found.external):
        raise InputError(
            f"{where}: the values of {name!r} are in other files, which are not read; h5repack "
            "copies them"
        )
    return found


def array(group: Any, names: Sequence[str], where: str) -> Any:
    """The array that has one of these names, None if there is none.

    Raises:
        InputError: There are several, or it is a group or a link.
    """
    there = [name for name in names if name in group]
    if len(there) > 1:
        raise InputError(f"{where}: holds both {there[0]} and {there[1]}; leave one of them")
    if not there:
        return None
    found = member(group, there[0], where)
    if not is_array(found):
        raise InputError(f"{where}: {there[0]} is a group; expected an array")
    return found


def is_array(found: object) -> bool:
    """Whether something in a file is an array, not a group."""
    return isinstance(found, library().Dataset)


def is_float(found: Any, axes: int) -> bool:
    """Whether something is an array of floats with this many axes."""
    return is_array(found) and found.dtype.kind == "f" and len(found.shape or ()) == axes


def checked_shape(found: Any, shape: Sequence[int | None], kinds: str, where: str) -> None:
    """Refuse an array of another shape or type than is expected; None stands for any length.

    Raises:
        InputError: It is.
    """
    given = found.shape or ()
    fits = len(given) == len(shape) and all(
        wanted in (None, length) for wanted, length in zip(shape, given, strict=True)
    )
    if not fits or found.dtype.kind not in kinds:
        words = ", ".join("any" if length is None else str(length) for length in shape)
        raise InputError(f"{where}: {described(found)}; expected numbers [{words}]")


def described(found: Any) -> str:
    """Name, type and shape of an array or a group, for a message."""
    name = (found.name or "?").rpartition("/")[2][:60]
    if not is_array(found):
        return f"{name} (a group)"
    return f"{name} {found.dtype} {list(found.shape or ())}"


def listed(group: Any) -> str:
    """The first things in a group, for a message."""
    names = list(group)
    if not names:
        return "nothing"
    shown = []
    for name in names[:SHOWN]:
        linked = group.get(name, getlink=True)
        hard = isinstance(linked, library().HardLink)
        shown.append(described(group[name]) if hard else f"{name[:60]} (a link)")
    rest = len(names) - len(shown)
    return ", ".join(shown) + (f" and {rest:,} more" if rest else "")


def are_fractions(boxes: NDArray[Any]) -> bool:
    """Whether boxes are in fractions of the picture, not in pixels: none is beyond 1."""
    return bool(boxes.size) and float(np.max(boxes)) <= 1.001
