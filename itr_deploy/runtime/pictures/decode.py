"""Pictures of any kind as arrays of 8-bit red, green and blue, by stated rules.

Every picture is decoded the same way, be it a file, bytes or an image of Pillow's:

* rotated and mirrored as its EXIF data say, so that it stands as people see it;
* grey, palette, CMYK, YCbCr and Lab pictures become RGB by Pillow's conversion; colour profiles are
  not applied;
* what is transparent shows white; or, where a model was trained so, transparency is ignored;
* of 16 bits the upper 8 count; values of 32 bits have no known range and are refused;
* of an animation the first frame counts;
* a picture that is truncated, empty or larger than `MOST_PIXELS` is refused.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar, Union

import numpy as np
from numpy.typing import NDArray

from itr_deploy.errors import InputError, ItrDeployError
from itr_deploy.paths import local_path, shown

if TYPE_CHECKING:
    from PIL import Image

Pixels: TypeAlias = NDArray[np.uint8]
"""``uint8 [H, W, 3]``: red, green, blue."""

Picture: TypeAlias = Union[str, "os.PathLike[str]", bytes, "Image.Image", NDArray[Any]]
"""A file's path, a file's content, an image of Pillow's, or ``uint8 [H, W, 3]`` or ``[H, W]``."""

Transparent: TypeAlias = Literal["white", "ignored"]
"""What is transparent shows white, or the colour that a file has there, which nobody sees."""

T = TypeVar("T")

FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
"""What is decoded, by Pillow's names. Others run other programs, or are rarely pictures."""

ORIENTATION = 0x0112
"""EXIF's number for how a picture is turned."""

MOST_PIXELS = 89_000_000
"""Pixels of a picture; from about here on Pillow takes one for an attack."""


def decoded(picture: Picture, name: str, transparent: Transparent = "white") -> Pixels:
    """Decode a picture.

    Args:
        picture: The picture.
        name: What it is called in a message.
        transparent: What becomes of transparency.

    Raises:
        InputError: It is missing, cannot be decoded, or is too large.
    """
    try:
        return _decoded(picture, name, transparent)
    except (ItrDeployError, MemoryError):
        raise
    except Exception as error:  # decoders raise OSError, SyntaxError, ValueError, struct.error, ...
        raise InputError(_told(picture, name, error)) from error


def decoded_ahead(
    pictures: Iterable[tuple[Picture, str]], threads: int
) -> Generator[Pixels | InputError, None, None]:
    """Decode pictures in threads, a few ahead of the one that is asked for.

    Args:
        pictures: Pictures and their names.
        threads: How many are decoded at a time; with 0 the caller's own decodes, none ahead.

    Yields:
        Every picture, or why it cannot be decoded.
    """
    return made_ahead(pictures, threads, decoded)


def made_ahead(
    pictures: Iterable[tuple[Picture, str]], threads: int, make: Callable[[Picture, str], T]
) -> Generator[T | InputError, None, None]:
    """Make something of pictures in threads, a few ahead of the one that is asked for.

    Args:
        pictures: Pictures and their names.
        threads: How many are made at a time; with 0 the caller's own makes them, none ahead.
        make: What is made of a picture and its name.

    Yields:
        What was made of every picture, or the `InputError` that this raised.
    """
    from collections import deque
    from concurrent.futures import Future, ThreadPoolExecutor

    if not threads:
        for picture, name in pictures:
            yield _tried(picture, name, make)
        return
    pool = ThreadPoolExecutor(threads, thread_name_prefix="decode")
    waiting: deque[Future[T | InputError]] = deque()
    try:
        for picture, name in pictures:
            if is_image(picture):
                # Images of Pillow's load as they are read, and two threads may have the same one.
                done: Future[T | InputError] = Future()
                done.set_result(_tried(picture, name, make))
                waiting.append(done)
            else:
                waiting.append(pool.submit(_tried, picture, name, make))
            if len(waiting) > threads + 1:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def is_picture(given: object) -> bool:
    """Whether this is one picture, rather than several or something else."""
    if isinstance(given, (str, bytes, os.PathLike)):
        return True
    if isinstance(given, np.ndarray):
        return given.ndim == 2 or (given.ndim == 3 and given.shape[2] in (1, 3, 4))
    return is_image(given)


def is_image(given: object) -> bool:
    """Whether this is an image of Pillow's; Pillow is not imported."""
    return any(kind.__module__.startswith("PIL.") for kind in type(given).__mro__)


def _tried(picture: Picture, name: str, make: Callable[[Picture, str], T]) -> T | InputError:
    try:
        return make(picture, name)
    except InputError as error:
        return error


def _decoded(picture: Picture, name: str, transparent: Transparent) -> Pixels:
    if isinstance(picture, np.ndarray):
        return _of_array(picture, name, transparent)
    from PIL import Image

    if isinstance(picture, Image.Image):
        return _of_image(picture, name, transparent)
    content: Any = io.BytesIO(picture) if isinstance(picture, bytes) else _file(picture, name)
    with Image.open(content, formats=_formats()) as image:
        return _of_image(image, name, transparent)


def _formats() -> list[str]:
    """Those of `FORMATS` that this Pillow can decode."""
    from PIL import Image

    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


def _file(picture: str | os.PathLike[str], name: str) -> Path:
    path = local_path(picture)
    try:
        size = path.stat().st_size
    except OSError as error:
        raise InputError(f"{name}: {(error.strerror or str(error)).lower()}") from error
    if path.is_dir():
        raise InputError(f"{name}: is a directory; give the files in it")
    if size == 0:
        raise InputError(f"{name}: is empty (0 bytes)")
    return path


def _of_image(image: Image.Image, name: str, transparent: Transparent) -> Pixels:
    from PIL import Image

    _check_size(*image.size, name)
    upright = _upright(image)
    if upright.mode.startswith("I;16"):
        # Pillow's own conversion cuts values off at 255.
        upright = Image.fromarray((np.asarray(upright) >> 8).astype(np.uint8))
    if upright.mode in ("I", "F"):
        raise InputError(
            f"{name}: has values of 32 bits, which have no known range; save it with 8 bits"
        )
    if transparent == "white" and upright.has_transparency_data:
        shape = upright.convert("RGBA")
        white = Image.new("RGBA", shape.size, "white")
        upright = Image.alpha_composite(white, shape)
    return np.asarray(upright.convert("RGB"))


def _upright(image: Image.Image) -> Image.Image:
    """The image as its EXIF data say that it stands; others of the data are not read.

    Pillow's own `ImageOps.exif_transpose` writes all data anew, and fails where one is odd.
    """
    from PIL.Image import Transpose

    image.load()  # a TIFF is turned by this, and then says that it need not be
    try:
        turn = image.getexif().get(ORIENTATION)
    except Exception:  # damaged data raise many kinds; the picture is whole
        return image
    ways = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    way = ways.get(turn) if isinstance(turn, int) else None
    return image if way is None else image.transpose(way)


def _of_array(array: NDArray[Any], name: str, transparent: Transparent) -> Pixels:
    if array.dtype != np.uint8:
        raise InputError(
            f"{name}: an array of {array.dtype}; a picture is uint8 [height, width, 3], 0 to 255"
        )
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim != 2 and not (array.ndim == 3 and array.shape[2] in (3, 4)):
        raise InputError(
            f"{name}: shape {list(array.shape)}; a picture is [height, width, 3]: red, green, blue"
        )
    _check_size(array.shape[1], array.shape[0], name)
    if array.ndim == 3 and array.shape[2] == 3:
        return np.ascontiguousarray(array)
    from PIL import Image

    return _of_image(Image.fromarray(array), name, transparent)


def _check_size(width: int, height: int, name: str) -> None:
    if not 0 < width * height <= MOST_PIXELS:
        raise InputError(f"{name}: {width} x {height} pixels; a picture has 1 to {MOST_PIXELS:,}")


def _told(picture: Picture, name: str, error: Exception) -> str:
    """Why a picture cannot be decoded."""
    try:
        start = b""
        if isinstance(picture, bytes):
            start = picture[:16]
        elif isinstance(picture, (str, os.PathLike)):
            start = _start(local_path(picture))
    except OSError as unread:
        return f"{name}: {(unread.strerror or str(unread)).lower()}"
    if start[4:8] == b"ftyp" and start[8:12] in (b"heic", b"heix", b"hevc", b"mif1", b"msf1"):
        return f"{name}: a HEIC picture, which is not decoded here; convert it to JPEG"
    known = ", ".join(kind for kind in FORMATS if kind != "MPO")
    said = " ".join(str(error).split())
    if type(error).__name__ == "UnidentifiedImageError" or not said:
        return f"{name}: not a picture that is decoded here ({known}), or damaged"
    if type(error).__name__ == "DecompressionBombError":
        return f"{name}: too large, the most are {MOST_PIXELS:,} pixels; make it smaller"
    return f"{name}: damaged, {shown(said)}"


def _start(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(16)
