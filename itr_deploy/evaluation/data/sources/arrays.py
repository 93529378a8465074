"""Arrays in NumPy's format: what their headers say, and their values, without unpickling."""

from __future__ import annotations

from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from itr_deploy.errors import InputError

_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def features_shape(file: IO[bytes], where: str) -> tuple[int, int]:
    """Regions and features of the array that begins in a file, by its header.

    Raises:
        InputError: It is no array ``[R, Di]`` of a float type.
        Exception: The header is damaged; it may be any.
    """
    read = _HEADERS[np.lib.format.read_magic(file)]
    shape, _, dtype = read(file)
    if len(shape) != 2 or dtype.kind != "f":
        kind = "objects, which are not unpickled" if dtype.hasobject else dtype
        raise InputError(
            f"{where}: features are {kind} {list(shape)}; expected the float features of one "
            "image, [regions, features]"
        )
    return shape[0], shape[1]


def values(file: IO[bytes]) -> NDArray[Any]:
    """The array that begins in a file.

    Raises:
        Exception: It is damaged, or of objects; it may be any.
    """
    found: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
    return found


def damaged(where: str, error: Exception) -> InputError:
    """The error for a file that cannot be read."""
    said = getattr(error, "strerror", None) or " ".join(str(error).split())
    return InputError(f"{where}: cannot be read: {str(said)[:200] or type(error).__name__}")
