"""Pictures as inputs of an encoder that starts from pixels."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itr_deploy.errors import InputError
from itr_deploy.runtime.cpus import available_cores
from itr_deploy.runtime.pictures.decode import Picture, Pixels, decoded_ahead, is_picture

log = logging.getLogger(__name__)

TOGETHER = 8
"""Pictures of one shape per call of an encoder: enough to fill a GPU, few enough to save memory."""
MOST_THREADS = 8
"""Threads that decode. Each holds a picture in memory."""

FORM = "a picture is a file's path, an image of Pillow's, or an array uint8 [height, width, 3]"


class CheckedPictures:
    """Pictures, which are decoded as they are read.

    Attributes:
        counts: ``int64 [N]``, all 1: an encoded picture has no regions.
        positions: 1.
        are_ragged: False.
        broken: With ``skip_broken``, why a picture was left out, by its number; filled by
            `batches`.
    """

    positions = 1
    are_ragged = False

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
        self._pictures = _listed(pictures)
        self._names, self._skips = names, skip_broken
        self.counts = np.ones(len(self._pictures), np.int64)
        self.broken: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self._pictures)

    def batches(
        self, part: slice, most: int
    ) -> Iterator[tuple[NDArray[np.int64], dict[str, NDArray[Any]]]]:
        """Consecutive pictures of one shape together, as the encoder's graph takes them.

        Args:
            part: Which pictures.
            most: Most pictures of a batch.

        Yields:
            The pictures' numbers, ``int64 [n]``, and ``pictures``, ``uint8 [n, H, W, 3]``.

        Raises:
            InputError: A picture cannot be decoded.
        """
        most = min(most, TOGETHER)
        numbers: list[int] = []
        pixels: list[Pixels] = []
        for number, picture in self._decoded(range(len(self))[part]):
            if pixels and (len(pixels) == most or picture.shape != pixels[0].shape):
                yield np.array(numbers), {"pictures": np.stack(pixels)}
                numbers, pixels = [], []
            numbers.append(number)
            pixels.append(picture)
        if pixels:
            yield np.array(numbers), {"pictures": np.stack(pixels)}

    def _decoded(self, numbers: range) -> Iterator[tuple[int, Pixels]]:
        given = ((self._pictures[number], self._name(number)) for number in numbers)
        # For a query, threads would only cost time.
        threads = min(available_cores(), MOST_THREADS) if len(numbers) > 1 else 0
        for number, found in zip(numbers, decoded_ahead(given, threads), strict=True):
            if not isinstance(found, InputError):
                yield number, found
            elif self._skips:
                self.broken[number] = str(found)
            else:
                raise found

    def _name(self, number: int) -> str:
        if self._names is not None:
            return self._names[number]
        picture = self._pictures[number]
        return str(picture) if isinstance(picture, (str, os.PathLike)) else f"picture {number}"


def _listed(pictures: Any) -> Sequence[Picture]:
    """The pictures as a sequence.

    Raises:
        InputError: These are no pictures.
    """
    if isinstance(pictures, np.ndarray) and pictures.ndim == 4:
        return pictures  # type: ignore[return-value]  # rows are pictures
    if is_picture(pictures):
        raise InputError("expected a list of pictures; put the picture in a list")
    if not isinstance(pictures, (list, tuple)):
        raise InputError(
            f"expected a list of pictures, not a {type(pictures).__name__}; this model starts from "
            f"pixels: {FORM}"
        )
    for number, one in enumerate(pictures):
        if not is_picture(one):
            kind = f"{one.dtype} {list(one.shape)}" if hasattr(one, "shape") else type(one).__name__
            raise InputError(f"picture {number} is {kind}; this model starts from pixels: {FORM}")
    return pictures


def random_pictures(rng: np.random.Generator, count: int) -> NDArray[np.uint8]:
    """Pictures of noise, all of one random shape, ``uint8 [count, H, W, 3]``.

    A coarse pattern lies under the noise, as a model sees little difference between noises.
    """
    height, width = rng.integers(40, 400, size=2)
    coarse = rng.integers(0, 256, size=(count, 4, 5, 3))
    rows, columns = np.arange(height) * 4 // height, np.arange(width) * 5 // width
    noise = rng.integers(-40, 41, size=(count, height, width, 3))
    pattern = coarse[:, rows][:, :, columns]
    pictures: NDArray[np.uint8] = np.clip(pattern + noise, 0, 255).astype(np.uint8)
    return pictures
