"""Images of every kind, as a bundle's encoder takes them: regions, pictures, or both.

A model of regions takes pictures too where there is a detector, which finds regions in them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from itr_deploy.bundle.manifest import ImageItems
from itr_deploy.errors import InputError
from itr_deploy.runtime.encoding.checks import as_array
from itr_deploy.runtime.encoding.pictures import FORM, CheckedPictures, Limits
from itr_deploy.runtime.encoding.places import Placed
from itr_deploy.runtime.encoding.regions import CheckedRegions, Features, Regions, are_ragged
from itr_deploy.runtime.pictures.decode import Picture, is_image, is_picture

Unencoded: TypeAlias = Features | Regions | Picture | Sequence[Picture]
"""Images as they are given before they are encoded."""


@runtime_checkable
class CheckedImages(Protocol):
    """Images whose shapes are checked; their values are checked as they are read."""

    counts: NDArray[np.int64]
    """The number of each image's regions; 1 of a picture."""

    @property
    def broken(self) -> Mapping[int, str]:
        """Why images were left out as they were read, by their numbers."""
        ...

    @property
    def together(self) -> int:
        """How many to encode at once where all are stored in the end."""
        ...

    @property
    def positions(self) -> int:
        """The most regions of an image; 1 of pictures."""
        ...

    @property
    def are_ragged(self) -> bool:
        """Whether images differ in their numbers of regions."""
        ...

    @property
    def have_boxes(self) -> bool:
        """Whether it is known where the regions are."""
        ...

    def __len__(self) -> int: ...

    def placed(self, number: int) -> Placed | None:
        """Where the regions of one image are, None where that is not known.

        Raises:
            InputError: A box or the picture's size cannot be used.
        """
        ...

    def batches(
        self, part: slice, limits: Limits
    ) -> Iterator[tuple[NDArray[np.int64], dict[str, NDArray[Any]]]]:
        """The images of a slice in batches that an encoder takes, and their numbers.

        Raises:
            InputError: An image cannot be used.
        """
        ...


class RegionDetector(Protocol):
    """What finds regions in pictures, see `Detector`."""

    def images(self, pictures: Any, items: ImageItems) -> CheckedImages:
        """Pictures as images of a model that takes regions.

        Raises:
            InputError: These are no pictures.
        """
        ...


def checked_images(
    images: Any, items: ImageItems, detector: RegionDetector | None = None
) -> CheckedImages:
    """Images as users give them, checked.

    Args:
        images: Regions, or pictures, by what the bundle's model takes; or what this returned.
        items: The bundle's description of images.
        detector: Finds regions in pictures, for a model that takes regions.

    Raises:
        InputError: They are of the other kind, or of a wrong form.
    """
    if isinstance(images, CheckedImages):
        return images
    if items.pictures:
        if isinstance(images, Regions):
            raise InputError(f"Regions were given, and this model starts from pixels: {FORM}")
        return CheckedPictures(images)
    if detector is not None and are_pictures(images):
        return detector.images(images, items)
    _refuse_pictures(images, items)
    return CheckedRegions(images, items)


def several_images(
    given: Any, items: ImageItems, detector: RegionDetector | None = None
) -> tuple[Any, bool]:
    """One image or several as several are given, and whether it was one.

    Args:
        given: Regions ``[R, Di]`` of one image or what `checked_images` takes; or a picture, or
            several.
        items: The bundle's description of images.
        detector: Finds regions in pictures, for a model that takes regions.

    Raises:
        InputError: Pictures where the model takes regions, or what makes no array.
    """
    if items.pictures or (detector is not None and are_pictures(given)):
        return ([given], True) if is_picture(given) else (given, False)
    _refuse_pictures(given, items)
    if isinstance(given, Regions):
        return (given.as_several(), True) if given.is_one else (given, False)
    if are_ragged(given):
        return given, False
    regions = as_array(given, "regions")
    return (regions[None], True) if regions.ndim == 2 else (regions, False)


def are_pictures(images: Any) -> bool:
    """Whether these are pictures, one or several, rather than features, which are of a float type.

    A list is judged by its first entry.
    """
    one = images[0] if isinstance(images, (list, tuple)) and images else images
    if isinstance(one, np.ndarray):
        return bool(one.dtype == np.uint8)
    return isinstance(one, (str, bytes)) or hasattr(one, "__fspath__") or is_image(one)


def _refuse_pictures(images: Any, items: ImageItems) -> None:
    """Refuse pictures where a model takes features of regions.

    Raises:
        InputError: These are pictures.
    """
    if are_pictures(images):
        raise InputError(
            f"a picture was given, and this model takes features of regions, {items.feature_dim} "
            "each; give a detector that finds them, detector= (--detector), or the features"
        )
