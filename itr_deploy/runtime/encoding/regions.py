"""Images as users give them: region features, and what belongs to them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from itr_deploy.bundle.manifest import ImageItems
from itr_deploy.errors import InputError
from itr_deploy.runtime.encoding.checks import as_array, check_regions, finite_batch

Features: TypeAlias = ArrayLike | Sequence[ArrayLike]


@dataclass(frozen=True, eq=False)
class Regions:
    """Images given by the features of their regions.

    Wherever images are taken, the features alone may be given too.

    Attributes:
        features: ``[N, R, Di]`` of a float type, in memory or mapped from disk; or a list of
            ``[R_i, Di]``, for images of different numbers of regions.
        counts: ``[N]``, how many of the R rows of each image are regions, for features that are
            padded. Without it a row of zeros is an error, since padding would be scored.

    Examples:
        >>> features = np.ones((2, 4, 8), np.float32)
        >>> len(Regions(features, counts=[4, 2]))
        2
    """

    features: Features
    counts: ArrayLike | None = None

    def __len__(self) -> int:
        return len(self.features)  # type: ignore[arg-type]

    def __getitem__(self, part: slice) -> Regions:
        """A slice of the images."""
        counts = None if self.counts is None else np.asarray(self.counts)[part]
        return Regions(self.features[part], counts)  # type: ignore[index]


Unencoded: TypeAlias = Features | Regions
"""Images as they are given before they are encoded."""


class CheckedRegions:
    """Images whose shapes are checked; their values are checked as they are read.

    Attributes:
        counts: ``int64 [N]``, the number of each image's regions.
    """

    def __init__(self, images: Any, items: ImageItems) -> None:
        """Check features, or `Regions`.

        Args:
            images: As `Regions.features`, or `Regions`.
            items: The bundle's description of images.

        Raises:
            InputError: Wrong rank, width, number of regions or type.
        """
        given = images if isinstance(images, Regions) else Regions(images)
        self._padded = given.counts is not None
        self._features: NDArray[Any] | list[NDArray[Any]]
        if are_ragged(given.features):
            if self._padded:
                raise InputError("counts= are for padded features; a list of arrays needs none")
            self._features = [
                check_regions(as_array(one, f"regions of image {place}")[None], items)[0]
                for place, one in enumerate(given.features)  # type: ignore[arg-type]
            ]
            self.counts = np.array([len(one) for one in self._features], np.int64)
        else:
            self._features = check_regions(given.features, items, padded=self._padded)
            self.counts = np.full(len(self._features), self._features.shape[1], np.int64)
            if given.counts is not None:
                self.counts = _checked_counts(given.counts, self._features, items)

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

    def groups(self, part: slice) -> Iterator[NDArray[np.int64]]:
        """Numbers of the images in a slice, those of equal numbers of regions together."""
        numbers = np.arange(len(self))[part]
        counts = self.counts[numbers]
        for count in np.unique(counts):
            yield numbers[counts == count]

    def batch(self, numbers: NDArray[np.int64]) -> NDArray[np.float32]:
        """Some images of equal numbers of regions, ``float32 [n, R, Di]``, contiguous.

        Raises:
            InputError: A value is not finite, or a region is all zeros.
        """
        count = int(self.counts[numbers[0]])
        if isinstance(self._features, list):
            rows = np.stack([self._features[number] for number in numbers])
        else:
            # Mapped from disk, a slice is not copied.
            first, last = int(numbers[0]), int(numbers[-1]) + 1
            consecutive = last - first == len(numbers)
            rows = self._features[first:last] if consecutive else self._features[numbers]
            rows = rows[:, :count]
        return finite_batch(rows, numbers, zeros_are_regions=self._padded)


def are_ragged(features: Any) -> bool:
    """Whether features are a list of arrays ``[R_i, Di]`` rather than one array."""
    if not isinstance(features, (list, tuple)) or not features:
        return False
    return all(isinstance(one, np.ndarray) and one.ndim == 2 for one in features)


def _checked_counts(
    counts: ArrayLike, features: NDArray[Any], items: ImageItems
) -> NDArray[np.int64]:
    found = as_array(counts, "counts")
    if found.shape != (len(features),) or not np.issubdtype(found.dtype, np.integer):
        raise InputError(
            f"counts are {found.dtype} {list(found.shape)}; expected one integer for each of "
            f"{len(features)} images"
        )
    least, most = items.regions or 1, items.regions or features.shape[1]
    wrong = np.flatnonzero((found < least) | (found > min(most, features.shape[1])))
    if wrong.size:
        image = int(wrong[0])
        wanted = items.regions or f"from 1 to {features.shape[1]}"
        raise InputError(
            f"image {image} has {found[image]} regions by its count; expected {wanted}"
        )
    return found.astype(np.int64)
