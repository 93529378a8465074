"""Images whose features lie in files of others and are read as they are encoded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from itr_deploy.bundle.manifest import ImageItems
from itr_deploy.runtime.encoding.checks import finite_batch
from itr_deploy.runtime.encoding.pictures import Limits
from itr_deploy.runtime.encoding.places import Placed, checked_places
from itr_deploy.runtime.encoding.regions import Regions, equal_counts


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


class StreamedRegions:
    """Images of a reader. Those of one slice are in memory, and none of the others.

    Attributes:
        broken: None is left out.
        together: How many to encode and store at once.
    """

    broken: Mapping[int, str] = {}
    together = 64

    def __init__(self, reader: RegionReader, items: ImageItems) -> None:
        """Take images that fit what the bundle's model takes."""
        self._reader, self.counts = reader, reader.counts
        self._takes_boxes = bool(items.boxes)
        self._held: dict[int, Regions] = {}

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
    def have_boxes(self) -> bool:
        """Whether it is known where the regions are."""
        return self._reader.have_boxes

    def batches(
        self, part: slice, limits: Limits
    ) -> Iterator[tuple[NDArray[np.int64], dict[str, NDArray[Any]]]]:
        """Images of equal numbers of regions together, as the encoder's graph takes them.

        Args:
            part: Which images; they are read in their order.
            limits: What the encoder takes.

        Yields:
            The images' numbers, ``int64 [n]``, and the graph's inputs.

        Raises:
            InputError: A value, a box or a size cannot be used.
        """
        numbers = np.arange(len(self))[part]
        self._held = {number: self._reader.read(number) for number in numbers.tolist()}
        for same in equal_counts(self.counts, numbers):
            for start in range(0, len(same), limits.items):
                own = same[start : start + limits.items]
                features = np.stack([np.asarray(self._held[n].features) for n in own.tolist()])
                given = {"regions": finite_batch(features, own)}
                places = self._places(own) if self._takes_boxes else None
                if places is not None:
                    given |= {"boxes": places[0], "picture_sizes": places[1]}
                yield own, given

    def placed(self, number: int) -> Placed | None:
        """Where the regions of one image are, None where that is not known.

        Raises:
            InputError: A box or the picture's size cannot be used.
        """
        places = self._places(np.array([number]))
        return None if places is None else Placed(places[0][0], places[1][0])

    def _places(
        self, numbers: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
        if not self.have_boxes:
            return None
        held = self._held
        images = [held[n] if n in held else self._reader.read(n) for n in numbers.tolist()]
        boxes = np.stack([image.boxes for image in images])  # type: ignore[misc]
        sizes = np.array([image.picture_sizes for image in images])
        return checked_places(boxes, sizes, [self._reader.names[n] for n in numbers.tolist()])
