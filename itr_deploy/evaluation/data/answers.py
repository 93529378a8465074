"""The right answers of a split in both directions: which captions belong to which image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itr_deploy.bundle.modality import Modality
from itr_deploy.errors import UsageError

Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Answers:
    """Which captions belong to which image: an image's are consecutive, in the order of the images.

    An image may have any number of captions. One without any is searched like the others, and is
    no query: there is nothing right to find for it.

    Attributes:
        counts: ``int64 [N]``, number of captions per image.

    Examples:
        >>> Answers.equal(4, 5).captions(slice(2, 4))
        slice(10, 20, None)
        >>> Answers.of([2, 0, 3]).captions(slice(1, 3))
        slice(2, 5, None)
    """

    counts: NDArray[np.int64]

    @classmethod
    def of(cls, counts: Sequence[int]) -> Answers:
        """The answers of images with these numbers of captions."""
        return cls(np.array(counts, np.int64))

    @classmethod
    def equal(cls, images: int, each: int) -> Answers:
        """The answers of images with ``each`` captions."""
        return cls(np.full(images, each, np.int64))

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """``int64 [N + 1]``: where every image's captions start, then the number of captions."""
        return np.concatenate([[0], np.cumsum(self.counts)]).astype(np.int64)

    @cached_property
    def image_of(self) -> NDArray[np.int64]:
        """``int64 [C]``, the number of every caption's image."""
        return np.repeat(np.arange(len(self.counts)), self.counts)

    @property
    def per_image(self) -> int | None:
        """Number of captions per image, None if the images have different numbers."""
        first = int(self.counts[0])
        return first if (self.counts == first).all() else None

    def reduce(self, by: np.ufunc, values: NDArray[Any]) -> NDArray[Any]:
        """One value ``[N]`` per image of its captions' values ``[C]``; 0 for one without captions.

        Args:
            by: ``np.maximum``, or another function that reduces. NaN stays NaN.
            values: One value per caption.
        """
        some = self.counts > 0
        found = by.reduceat(values, self.starts[:-1][some]) if some.any() else values[:0]
        reduced: NDArray[Any] = np.zeros(len(self.counts), found.dtype)
        reduced[some] = found
        return reduced

    def captions(self, images: slice) -> slice:
        """The captions of consecutive images."""
        return slice(int(self.starts[images.start]), int(self.starts[images.stop]))

    def part(self, images: slice) -> Answers:
        """The answers of consecutive images among themselves."""
        return Answers(self.counts[images])

    def right(self, query: Modality, part: slice, items: NDArray[np.int64]) -> Mask:
        """Which of ``items [queries, n]`` are right answers to their query.

        Args:
            query: Modality of the queries.
            part: Which queries.
            items: Numbers of items of the other modality.
        """
        found: Mask = (
            self.image_of[items] == np.arange(part.start, part.stop)[:, None]
            if query == "image"
            else items == self.image_of[part, None]
        )
        return found

    def odd(self, modality: Modality, part: slice) -> Mask:
        """Which of some items belong to odd-numbered images."""
        own = np.arange(part.start, part.stop) if modality == "image" else self.image_of[part]
        odd: Mask = own % 2 == 1
        return odd

    def folds(self, folds: int) -> list[tuple[slice, slice]]:
        """The images and captions of equal folds of consecutive images.

        Raises:
            UsageError: The images cannot be divided into equal folds, or a fold has no captions.
        """
        images = len(self.counts)
        if folds < 1 or images % folds:
            raise UsageError(f"{images} images cannot be divided into {folds} equal folds")
        size = images // folds
        parts = [slice(start, start + size) for start in range(0, images, size)]
        for number, part in enumerate(parts, 1):
            if not self.counts[part].any():
                raise UsageError(
                    f"fold {number} of {folds} has no captions; give fewer folds= (--folds)"
                )
        return [(part, self.captions(part)) for part in parts]
