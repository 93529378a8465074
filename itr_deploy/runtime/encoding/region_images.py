"""What images of regions have in common, wherever their features come from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itr_deploy.runtime.encoding.pictures import Limits
from itr_deploy.runtime.encoding.places import Placed


class RegionImages(ABC):
    """Images of known numbers of regions, whose values are read batch by batch.

    Attributes:
        counts: ``int64 [N]``, the number of each image's regions.
        broken: None is left out.
        together: How many to encode and store at once.
    """

    broken: Mapping[int, str] = {}
    together = 64

    def __init__(self, counts: NDArray[np.int64], *, takes_boxes: bool) -> None:
        """Take the images' numbers of regions, and whether the encoder reads their boxes."""
        self.counts, self._takes_boxes = counts, takes_boxes

    def __len__(self) -> int:
        return len(self.counts)

    @cached_property
    def positions(self) -> int:
        """The most regions of an image."""
        return int(self.counts.max(initial=1))

    @cached_property
    def are_ragged(self) -> bool:
        """Whether images differ in their numbers of regions."""
        return len(np.unique(self.counts)) > 1

    @property
    @abstractmethod
    def have_boxes(self) -> bool:
        """Whether it is known where the regions are."""

    def batches(
        self, part: slice, limits: Limits
    ) -> Iterator[tuple[NDArray[np.int64], dict[str, NDArray[Any]]]]:
        """Images of equal numbers of regions together, as the encoder's graph takes them.

        Args:
            part: Which images.
            limits: What the encoder takes.

        Yields:
            The images' numbers, ``int64 [n]``, and the graph's inputs.

        Raises:
            InputError: A value, a box or a size cannot be used.
        """
        for numbers in _equal_counts(self.counts, np.arange(len(self))[part]):
            for start in range(0, len(numbers), limits.items):
                own = numbers[start : start + limits.items]
                yield own, self._inputs(own)

    def placed(self, number: int) -> Placed | None:
        """Where the regions of one image are, None where that is not known.

        Raises:
            InputError: A box or the picture's size cannot be used.
        """
        places = self._places(np.array([number]))
        return None if places is None else Placed(places[0][0], places[1][0])

    def _inputs(self, numbers: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        """Some images of equal numbers of regions, as the encoder's graph takes them.

        Raises:
            InputError: A value, a box or a size cannot be used.
        """
        given: dict[str, NDArray[Any]] = {"regions": self._batch(numbers)}
        places = self._places(numbers) if self._takes_boxes else None
        if places is not None:
            given["boxes"], given["picture_sizes"] = places
        return given

    @abstractmethod
    def _batch(self, numbers: NDArray[np.int64]) -> NDArray[np.float32]:
        """Some images of equal numbers of regions, ``float32 [n, R, Di]``, contiguous.

        Raises:
            InputError: A value is not finite, or a region is all zeros.
        """

    @abstractmethod
    def _places(
        self, numbers: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
        """Boxes ``float32 [n, R, 4]`` and picture sizes ``[n, 2]``, None where none are known.

        Raises:
            InputError: A box is not finite or has no height or width, or a picture has no size.
        """


def _equal_counts(
    counts: NDArray[np.int64], numbers: NDArray[np.int64]
) -> Iterator[NDArray[np.int64]]:
    """Numbers of images, those of equal numbers of regions together.

    Args:
        counts: ``int64 [N]``, the regions of all images.
        numbers: ``int64 [n]``, the images to group.
    """
    own = counts[numbers]
    for count in np.unique(own):
        yield numbers[own == count]
