"""Images as users give them: region features, and what belongs to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from itr_deploy.bundle.manifest import ImageItems
from itr_deploy.errors import InputError
from itr_deploy.runtime.encoding.checks import as_array, check_regions, finite_batch
from itr_deploy.runtime.encoding.places import FORM, checked_places
from itr_deploy.runtime.encoding.region_images import RegionImages

Features: TypeAlias = ArrayLike | Sequence[ArrayLike]


@dataclass(frozen=True, eq=False)
class Regions:
    """Images given by the features of their regions.

    Wherever images are taken, the features alone may be given too.

    Attributes:
        features: ``[N, R, Di]`` of a float type, in memory or mapped from disk; or a list of
            ``[R_i, Di]``, for images of different numbers of regions.
        boxes: ``[N, R, 4]`` or a list of ``[R_i, 4]``: x1, y1, x2, y2 in pixels, of the same
            regions. Some families' encoders read them.
        picture_sizes: ``[N, 2]``, width and height of the pictures in pixels; goes with boxes.
        counts: ``[N]``, how many of the R rows of each image are regions, for features that are
            padded. Without it a row of zeros is an error, since padding would be scored.

    Examples:
        >>> features = np.ones((2, 4, 8), np.float32)
        >>> len(Regions(features, counts=[4, 2]))
        2
    """

    features: Features
    boxes: Features | None = None
    picture_sizes: ArrayLike | None = None
    counts: ArrayLike | None = None

    def __len__(self) -> int:
        return len(self.features)  # type: ignore[arg-type]

    @property
    def is_one(self) -> bool:
        """Whether this is one image, given without the axis of images."""
        return isinstance(self.features, np.ndarray) and self.features.ndim == 2

    def as_several(self) -> Regions:
        """One image, given without the axis of images, as several are given."""

        def several(given: Any) -> Any:
            return None if given is None else as_array(given, "regions")[None]

        return Regions(*map(several, (self.features, self.boxes, self.picture_sizes, self.counts)))

    def __getitem__(self, part: slice | NDArray[np.int64]) -> Regions:
        """Some of the images: a slice, or by number if the arrays are NumPy's."""
        given = (self.features, self.boxes, self.picture_sizes, self.counts)
        return Regions(*(_part(one, part) for one in given))


def _part(given: Any, part: Any) -> Any:
    if given is None or isinstance(given, (list, tuple, np.ndarray)):
        return None if given is None else given[part]
    return as_array(given, "regions")[part]


class CheckedRegions(RegionImages):
    """Images whose shapes are checked; their values are checked as they are read."""

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
            counts = np.array([len(one) for one in self._features], np.int64)
        else:
            self._features = check_regions(given.features, items, padded=self._padded)
            counts = np.full(len(self._features), self._features.shape[1], np.int64)
            if given.counts is not None:
                counts = _checked_counts(given.counts, self._features, items)
        super().__init__(counts, takes_boxes=bool(items.boxes))
        self._boxes, self._sizes = _checked_boxes(given, counts, self._features, items)

    @property
    def have_boxes(self) -> bool:
        """Whether it was said where the regions are."""
        return self._boxes is not None

    def _batch(self, numbers: NDArray[np.int64]) -> NDArray[np.float32]:
        rows = self._rows(self._features, numbers)
        return finite_batch(rows, numbers, zeros_are_regions=self._padded)

    def _places(
        self, numbers: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
        if self._boxes is None or self._sizes is None:
            return None
        return checked_places(self._rows(self._boxes, numbers), self._sizes[numbers], numbers)

    def _rows(
        self, arrays: NDArray[Any] | list[NDArray[Any]], numbers: NDArray[np.int64]
    ) -> NDArray[Any]:
        """The rows of some images of equal numbers of regions."""
        if isinstance(arrays, list):
            return np.stack([arrays[number] for number in numbers])
        # Mapped from disk, a slice is not copied.
        first, last = int(numbers[0]), int(numbers[-1]) + 1
        consecutive = last - first == len(numbers)
        rows = arrays[first:last] if consecutive else arrays[numbers]
        return rows[:, : int(self.counts[numbers[0]])]


def are_ragged(features: Any) -> bool:
    """Whether features are a list of arrays ``[R_i, Di]`` rather than one array."""
    if not isinstance(features, (list, tuple)) or not features:
        return False
    return all(isinstance(one, np.ndarray) and one.ndim == 2 for one in features)


def _checked_boxes(
    given: Regions,
    counts: NDArray[np.int64],
    features: NDArray[Any] | list[NDArray[Any]],
    items: ImageItems,
) -> tuple[NDArray[Any] | list[NDArray[Any]] | None, NDArray[Any] | None]:
    """The boxes, in the form of the features, and the picture sizes.

    Raises:
        InputError: They are missing and the model takes them, one is given without the other, or
            they do not fit the features.
    """
    if given.boxes is None or given.picture_sizes is None:
        if items.boxes:
            raise InputError(
                "this model also reads where the regions are; give them as "
                "itr_deploy.Regions(features, boxes, picture_sizes)"
            )
        if given.boxes is not None or given.picture_sizes is not None:
            raise InputError(f"boxes and picture_sizes go together; {FORM}")
        return None, None
    sizes = as_array(given.picture_sizes, "picture_sizes")
    if sizes.shape != (len(counts), 2) or sizes.dtype.kind not in "iuf":
        raise InputError(
            f"picture_sizes are {sizes.dtype} {list(sizes.shape)}; expected [{len(counts)}, 2]; "
            f"{FORM}"
        )
    if are_ragged(given.boxes):
        boxes = [as_array(one, "boxes") for one in given.boxes]  # type: ignore[union-attr]
        for image, one in enumerate(boxes):
            if one.dtype.kind not in "iuf":
                raise InputError(f"boxes of image {image} are {one.dtype}, not numbers; {FORM}")
        shapes = [one.shape for one in boxes]
        if isinstance(features, list) and shapes == [(len(one), 4) for one in features]:
            return boxes, sizes
        raise InputError("boxes are a list; give one array [R_i, 4] for each array of features")
    whole = as_array(given.boxes, "boxes")
    wanted = None if isinstance(features, list) else (*features.shape[:2], 4)
    if whole.shape != wanted or whole.dtype.kind not in "iuf":
        expected = "a list of [R_i, 4]" if wanted is None else list(wanted)
        raise InputError(
            f"boxes are {whole.dtype} {list(whole.shape)}; expected {expected}; {FORM}"
        )
    return whole, sizes


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
