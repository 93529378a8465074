"""Images whose features lie in files of others and are read as they are encoded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from itr_deploy.bundle.manifest import ImageItems
from itr_deploy.runtime.encoding.checks import finite_batch
from itr_deploy.runtime.encoding.pictures import Limits
from itr_deploy.runtime.encoding.places import checked_places
from itr_deploy.runtime.encoding.region_images import RegionImages
from itr_deploy.runtime.encoding.regions import Regions


class RegionReader(Protocol):
    """Gives images one by one; their widths, counts and boxes are known to fit the model."""

    @property
    def names(self) -> Sequence[str]:
        """What each image is called in a message."""
        ...

    @property
    def counts(self) -> NDArray[np.int64]:
        """``int64 [N]``, the number of each image's regions."""
        ...

    @property
    def have_boxes(self) -> bool:
        """Whether it is known of all images where their regions are."""
        ...

    def read(self, number: int) -> Regions:
        """One image, without the axis of images.

        Raises:
            InputError: It is damaged, or not what it was.
        """
        ...


class StreamedRegions(RegionImages):
    """Images of a reader. Those of one slice are in memory, and none of the others."""

    def __init__(self, reader: RegionReader, items: ImageItems) -> None:
        """Take images that fit what the bundle's model takes."""
        super().__init__(reader.counts, takes_boxes=bool(items.boxes))
        self._reader = reader
        self._held: dict[int, Regions] = {}

    @property
    def have_boxes(self) -> bool:
        """Whether it is known where the regions are."""
        return self._reader.have_boxes

    def batches(
        self, part: slice, limits: Limits
    ) -> Iterator[tuple[NDArray[np.int64], dict[str, NDArray[Any]]]]:
        """The images of a slice, which are read in their order; see `RegionImages.batches`."""
        self._held = {number: self._reader.read(number) for number in range(len(self))[part]}
        yield from super().batches(part, limits)

    def _batch(self, numbers: NDArray[np.int64]) -> NDArray[np.float32]:
        features = [np.asarray(image.features) for image in self._images(numbers)]
        return finite_batch(np.stack(features), numbers)

    def _places(
        self, numbers: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
        if not self.have_boxes:
            return None
        images = self._images(numbers)
        boxes = np.stack([image.boxes for image in images])  # type: ignore[misc]
        sizes = np.array([image.picture_sizes for image in images])
        return checked_places(boxes, sizes, [self._reader.names[n] for n in numbers.tolist()])

    def _images(self, numbers: NDArray[np.int64]) -> list[Regions]:
        held = self._held
        return [held[n] if n in held else self._reader.read(n) for n in numbers.tolist()]
