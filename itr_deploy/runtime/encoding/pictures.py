"""Pictures as inputs of an encoder that starts from pixels."""

from __future__ import annotations

import logging
import os
from collections.abc import Generator, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from itr_deploy.errors import InputError
from itr_deploy.runtime.cpus import available_cores
from itr_deploy.runtime.pictures.decode import Picture, Pixels, decoded_ahead, is_picture

log = logging.getLogger(__name__)

TOGETHER = 8
"""Pictures of one shape per call of an encoder: enough to fill a GPU, few enough to save memory."""
MOST_PIXELS_TOGETHER = 12_000_000
"""Pixels per call, if there are several pictures: they become float32, twelve bytes a pixel."""
MOST_THREADS = 4
"""Threads that decode. As many pictures, and two, are in memory."""

FORM = "a picture is a file's path, an image of Pillow's, or an array uint8 [height, width, 3]"


class Limits(NamedTuple):
    """The most that an image encoder takes at once: items, and sides of a picture if bounded."""

    items: int
    height: int | None = None
    width: int | None = None

    def take(self, picture: Pixels) -> bool:
        """Whether a picture is within the sides."""
        sides = zip(picture.shape[:2], (self.height, self.width), strict=True)
        return all(most is None or side <= most for side, most in sides)


class CheckedPictures:
    """Pictures, which are decoded as they are read.

    Attributes:
        counts: ``int64 [N]``, all 1: an encoded picture has no regions.
        positions: 1.
        are_ragged: False.
        broken: With ``skip_broken``, why a picture was left out, by its number; filled by
            `batches`.
        together: How many to encode and store at once; they take long.
        have_boxes: False.
    """

    positions = 1
    are_ragged = False
    together = 16
    have_boxes = False

    def __init__(
        self, pictures: Any, *, names: Sequence[str] | None = None, skip_broken: bool = False
    ) -> None:
        """Take pictures.

        Args:
            pictures: A sequence of pictures, or ``uint8 [N, H, W, 3]``.
            names: What each is called in a message; by default its path or its number.
            skip_broken: Whether to leave out pictures that cannot be decoded.

        Raises:
            InputError: These are no pictures.
        """
        self._pictures = listed_pictures(pictures)
        self._names, self._skips = names, skip_broken
        self.counts = np.ones(len(self._pictures), np.int64)
        self.broken: dict[int, str] = {}
        self._ahead: Generator[Pixels | InputError, None, None] | None = None
        self._place = 0

    def __len__(self) -> int:
        return len(self._pictures)

    def batches(
        self, part: slice, limits: Limits
    ) -> Iterator[tuple[NDArray[np.int64], dict[str, NDArray[Any]]]]:
        """Consecutive pictures of one shape together, as the encoder's graph takes them.

        Args:
            part: Which pictures.
            limits: What the encoder takes.

        Yields:
            The pictures' numbers, ``int64 [n]``, and ``pictures``, ``uint8 [n, H, W, 3]``.

        Raises:
            InputError: A picture cannot be decoded, or is larger than the encoder takes.
        """
        numbers: list[int] = []
        pixels: list[Pixels] = []
        for number, picture in self._decoded(range(len(self))[part], limits):
            area = picture.shape[0] * picture.shape[1]
            most = min(limits.items, TOGETHER, MOST_PIXELS_TOGETHER // area)
            if pixels and (len(pixels) >= most or picture.shape != pixels[0].shape):
                yield np.array(numbers), {"pictures": np.stack(pixels)}
                numbers, pixels = [], []
            numbers.append(number)
            pixels.append(picture)
        if pixels:
            yield np.array(numbers), {"pictures": np.stack(pixels)}

    def placed(self, number: int) -> None:
        """None: an encoded picture has no regions."""

    def _decoded(self, numbers: range, limits: Limits) -> Iterator[tuple[int, Pixels]]:
        for number in numbers:
            found = self._next(number)
            if not isinstance(found, InputError) and not limits.take(found):
                found = InputError(
                    f"{self._name(number)}: {found.shape[1]} x {found.shape[0]} pixels, and the "
                    f"engine takes {limits.width} x {limits.height}; make it smaller, or build the "
                    "engine with max_shapes= (--max-shapes) of height and width"
                )
            if not isinstance(found, InputError):
                yield number, found
            elif self._skips:
                self.broken[number] = str(found)
            else:
                self._stop()
                raise found

    def _next(self, number: int) -> Pixels | InputError:
        """A picture; those after it are decoded meanwhile, also if they are of the next slice."""
        if self._ahead is None or self._place != number:
            self._stop()
            rest = range(number, len(self))
            given = ((self._pictures[place], self._name(place)) for place in rest)
            # For a query, threads would only cost time.
            threads = min(available_cores(), MOST_THREADS) if len(rest) > 1 else 0
            self._ahead = decoded_ahead(given, threads)
        found = next(self._ahead)
        self._place = number + 1
        if self._place == len(self):
            self._stop()
        return found

    def _stop(self) -> None:
        """End the threads that decode."""
        if self._ahead is not None:
            self._ahead.close()
            self._ahead = None

    def _name(self, number: int) -> str:
        if self._names is not None:
            return self._names[number]
        return picture_name(self._pictures[number], number)


def picture_name(picture: Any, number: int) -> str:
    """What a picture is called in a message: its path, or its number."""
    return str(picture) if isinstance(picture, (str, os.PathLike)) else f"picture {number}"


def listed_pictures(
    pictures: Any, taker: str = "this model starts from pixels"
) -> Sequence[Picture]:
    """The pictures as a sequence.

    Args:
        pictures: A list of pictures, or ``uint8 [N, H, W, 3]``.
        taker: Who asks for pictures, for the message.

    Raises:
        InputError: These are no pictures.
    """
    if isinstance(pictures, np.ndarray) and pictures.ndim == 4:
        return pictures  # type: ignore[return-value]  # rows are pictures
    if is_picture(pictures):
        raise InputError("expected a list of pictures; put the picture in a list")
    if isinstance(pictures, np.ndarray):
        check_picture(pictures, "the picture", taker)
    if not isinstance(pictures, (list, tuple)):
        raise InputError(
            f"expected a list of pictures, not a {type(pictures).__name__}; {taker}: {FORM}"
        )
    for number, one in enumerate(pictures):
        check_picture(one, f"picture {number}", taker)
    return pictures


def check_picture(given: Any, name: str, taker: str) -> None:
    """Refuse what is not a picture, before it is decoded.

    Args:
        given: What was given as one.
        name: What it is called in the message.
        taker: Who asks for pictures, for the message.

    Raises:
        InputError: It is none.
    """
    if not is_picture(given):
        array = isinstance(given, np.ndarray)
        kind = f"{given.dtype} {list(given.shape)}" if array else type(given).__name__
        raise InputError(f"{name} is {kind}; {taker}: {FORM}")


def random_pictures(rng: np.random.Generator, count: int) -> NDArray[np.uint8]:
    """Pictures of noise, all of one random shape, ``uint8 [count, H, W, 3]``.

    A coarse pattern lies under the noise, as a model sees little difference between noises.
    """
    height, width = rng.integers(40, 400, size=2)
    rows, columns = np.arange(height) * 4 // height, np.arange(width) * 5 // width
    pictures = np.empty((count, height, width, 3), np.uint8)
    for picture in pictures:
        coarse = rng.integers(40, 216, size=(4, 5, 3), dtype=np.int16)
        noise = rng.integers(-40, 41, size=picture.shape, dtype=np.int16)
        picture[:] = coarse[rows][:, columns] + noise
    return pictures
