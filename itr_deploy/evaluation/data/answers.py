"""The right answers of a split in both directions: which captions belong to which image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from itr_deploy.bundle.modality import Modality
from itr_deploy.errors import UsageError

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Answers:
    """Every image has the same number of captions, consecutive and in the order of the images.

    Attributes:
        captions_per_image: Number of captions per image.

    Examples:
        >>> Answers(5).captions(slice(2, 4))
        slice(10, 20, None)
    """

    captions_per_image: int

    def captions(self, images: slice) -> slice:
        """The captions of consecutive images."""
        return slice(images.start * self.captions_per_image, images.stop * self.captions_per_image)

    def right(self, query: Modality, part: slice, items: NDArray[np.int64]) -> Mask:
        """Which of ``items [queries, n]`` are right answers to their query.

        Args:
            query: Modality of the queries.
            part: Which queries.
            items: Numbers of items of the other modality.
        """
        numbers = np.arange(part.start, part.stop)[:, None]
        found: Mask = (
            items // self.captions_per_image == numbers
            if query == "image"
            else items == numbers // self.captions_per_image
        )
        return found

    def odd(self, modality: Modality, part: slice) -> Mask:
        """Which of some items belong to odd-numbered images."""
        numbers = np.arange(part.start, part.stop)
        own = numbers if modality == "image" else numbers // self.captions_per_image
        odd: Mask = own % 2 == 1
        return odd

    def folds(self, images: int, folds: int) -> list[tuple[slice, slice]]:
        """The images and captions of equal folds of consecutive images.

        Raises:
            UsageError: The images cannot be divided into equal folds.
        """
        if folds < 1 or images % folds:
            raise UsageError(f"{images} images cannot be divided into {folds} equal folds")
        size = images // folds
        parts = [slice(start, start + size) for start in range(0, images, size)]
        return [(part, self.captions(part)) for part in parts]
