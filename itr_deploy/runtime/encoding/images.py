"""Images of either kind, as a bundle's encoder takes them: regions or pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from itr_deploy.bundle.manifest import ImageItems
from itr_deploy.errors import InputError
from itr_deploy.runtime.encoding.checks import as_array
from itr_deploy.runtime.encoding.pictures import FORM, CheckedPictures, Limits
from itr_deploy.runtime.encoding.places import Placed
from itr_deploy.runtime.encoding.regions import CheckedRegions, Features, Regions, are_ragged
from itr_deploy.runtime.encoding.streamed import StreamedRegions
from itr_deploy.runtime.pictures.decode import Picture, is_image, is_picture

Unencoded: TypeAlias = Features | Regions | Picture | Sequence[Picture]
"""Images as they are given before they are encoded."""


class CheckedImages(Protocol):
    """Images whose shapes are checked; their values are checked as they are read."""

    counts: NDArray[np.int64]
    """The number of each image's regions; 1 of a picture."""

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


def checked_images(images: Any, items: ImageItems) -> CheckedImages:
    """Images as users give them, checked.

    Args:
        images: Regions, or pictures, by what the bundle's model takes.
        items: The bundle's description of images.

    Raises:
        InputError: They are of the other kind, or of a wrong form.
    """
    if items.pictures:
        if isinstance(images, Regions):
            raise InputError(f"Regions were given, and this model starts from pixels: {FORM}")
        return images if isinstance(images, CheckedPictures) else CheckedPictures(images)
    if isinstance(images, StreamedRegions):
        return images
    _refuse_pictures(images, items)
    return CheckedRegions(images, items)


def several_images(given: Any, items: ImageItems) -> tuple[Any, bool]:
    """One image or several as several are given, and whether it was one.

    Args:
        given: Regions ``[R, Di]`` of one image or what `checked_images` takes; or a picture, or
            several.
        items: The bundle's description of images.

    Raises:
        InputError: Pictures where the model takes regions, or what makes no array.
    """
    if items.pictures:
        return ([given], True) if is_picture(given) else (given, False)
    _refuse_pictures(given, items)
    if isinstance(given, Regions):
        return (given.as_several(), True) if given.is_one else (given, False)
    if are_ragged(given):
        return given, False
    regions = as_array(given, "regions")
    return (regions[None], True) if regions.ndim == 2 else (regions, False)


def _refuse_pictures(images: Any, items: ImageItems) -> None:
    """Refuse pictures where a model takes features of regions.

    Raises:
        InputError: These are pictures.
    """
    one = images[0] if isinstance(images, (list, tuple)) and images else images
    if isinstance(one, (str, bytes)) or hasattr(one, "__fspath__") or is_image(one):
        raise InputError(
            f"a picture was given, and this model takes features of regions, {items.feature_dim} "
            "each, from a detector; give them, or export a model that starts from pixels"
        )
