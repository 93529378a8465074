"""Pictures as inputs of an encoder that takes regions: a detector finds these as they are read."""

from __future__ import annotations

import logging
from bisect import bisect_right
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import islice
from time import monotonic
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itr_deploy.bundle.manifest import ImageItems
from itr_deploy.errors import InputError
from itr_deploy.runtime.detector.detection import Detection
from itr_deploy.runtime.detector.detector import TAKER, Detector
from itr_deploy.runtime.detector.networks import Networks
from itr_deploy.runtime.encoding.checks import finite_batch
from itr_deploy.runtime.encoding.pictures import Limits, listed_pictures, picture_name
from itr_deploy.runtime.encoding.places import Placed, checked_places

log = logging.getLogger(__name__)

WARM = 5.0
"""Seconds of the first pictures that show what the next ones take; less is mostly loading."""


class DetectedImages:
    """Pictures, in which regions are found as they are read.

    Attributes:
        counts: ``int64 [N]``, the number of each image's regions once it was read, and before the
            most that it may have.
        positions: The most regions of an image.
        are_ragged: Whether images may differ in their numbers of regions.
        broken: With ``skip_broken``, why a picture was left out, by its number; filled by
            `batches`.
        together: How many pictures to encode and store at once.
        have_boxes: True.
    """

    have_boxes = True

    def __init__(
        self,
        detector: Detector,
        items: ImageItems,
        pictures: Any,
        *,
        names: Sequence[str] | None = None,
        skip_broken: bool = False,
        any_number: bool = False,
    ) -> None:
        """Take pictures.

        Args:
            detector: Finds the regions.
            items: The matcher's description of images. A number of regions that it fixes is the
                number that every picture gets; else the detector's own numbers hold.
            pictures: A sequence of pictures, or ``uint8 [N, H, W, 3]``.
            names: What each is called in a message; by default its path or its number.
            skip_broken: Whether to leave out pictures that cannot be used.
            any_number: Whether a picture may have fewer regions than the detector should find,
                where the model allows it; a gallery then holds any number.

        Raises:
            InputError: These are no pictures.
        """
        self._pictures = listed_pictures(pictures, TAKER)
        self._detector, self._items, self._names = detector, items, names
        self._skips = skip_broken
        least, most = self._boxes = numbers_of_regions(detector, items)
        stored = any(tensor.per_position for tensor in items.tensors)
        self.positions = most
        self.are_ragged = items.regions is None and (any_number or least != most or not stored)
        self.counts = np.full(len(self._pictures), most, np.int64)
        self.broken: dict[int, str] = {}
        # Where one takes seconds, each shows as progress and is stored.
        self.together = 1 if detector.backend.device == "cpu" else 16
        self._expected: Sequence[int] = range(len(self._pictures))
        self._stream: Iterator[Detection | InputError] = iter(())
        self._coming: deque[int] = deque()
        self._measured: dict[int, Detection | InputError] = {}
        self._places: dict[int, Placed] = {}

    def __len__(self) -> int:
        return len(self._pictures)

    def expect(self, numbers: Sequence[int]) -> None:
        """Be told which pictures will be read, in rising order; all of them where nobody tells."""
        self._expected = numbers

    def seconds_a_picture(self) -> float | None:
        """How long a picture takes, by the first ones, which are not looked at again.

        Returns:
            None where none of those that will be read can be used.
        """
        taken, whole, begun = None, 0, monotonic()
        coming = iter(self._expected)
        # Those that are looked at together are found all at once, when the first is asked for.
        window = Networks(self._detector.backend, self._detector.bundle.manifest).window
        while part := list(islice(coming, window)):
            start = monotonic()
            found = {number: self._next(number) for number in part}
            self._measured |= found
            usable = sum(isinstance(one, Detection) for one in found.values())
            if usable:
                taken, whole = (monotonic() - start) / usable, whole + 1
                if whole == 2 or monotonic() - begun > WARM:
                    break
        return taken

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
            InputError: A picture cannot be decoded, or has too few regions.
        """
        self._places.clear()  # a gallery without boxes asks for none
        alike: dict[int, list[tuple[int, Detection]]] = {}
        for number in range(len(self))[part]:
            found = self._usable(number)
            if found is None:
                continue
            own = alike.setdefault(len(found), [])
            own.append((number, found))
            if len(own) == limits.items:
                yield self._batch(alike.pop(len(found)))
        for own in alike.values():
            yield self._batch(own)

    def placed(self, number: int) -> Placed | None:
        """Where the regions of an image are, once `batches` has read it; told once.

        As they were found: ``frcnn-vg`` moves boxes to the picture's edge, where some are flat.
        """
        return self._places.pop(number, None)

    def _batch(
        self, own: Sequence[tuple[int, Detection]]
    ) -> tuple[NDArray[np.int64], dict[str, NDArray[Any]]]:
        numbers = np.array([number for number, _ in own])
        features = np.stack([found.features for _, found in own])
        # What a detector gives is a region, if it is of zeros too.
        given: dict[str, NDArray[Any]] = {
            "regions": finite_batch(features, numbers, zeros_are_regions=True)
        }
        if self._items.boxes:
            boxes = np.stack([found.boxes for _, found in own])
            sizes = np.array([found.picture_size for _, found in own])
            given["boxes"], given["picture_sizes"] = checked_places(boxes, sizes, numbers)
        return numbers, given

    def _usable(self, number: int) -> Detection | None:
        """What is in a picture; None where it is left out.

        Raises:
            InputError: It cannot be used, and is not to be left out.
        """
        found = self._measured.pop(number, None) or self._next(number)
        if isinstance(found, Detection):
            found = self._checked(number, found)
        if isinstance(found, Detection):
            self.counts[number] = len(found)
            self._places[number] = Placed(found.boxes, np.array(found.picture_size, np.float32))
            return found
        if not self._skips:
            self._stop()
            raise found
        self.broken[number] = str(found)
        return None

    def _checked(self, number: int, found: Detection) -> Detection | InputError:
        """What was found, unless the matcher cannot take it."""
        if not self.are_ragged and len(found) != self.positions:
            return InputError(
                f"{self._name(number)}: the detector finds {len(found)} regions in it, and every "
                f"image has {self.positions} here; leave it out, or give a larger picture"
            )
        try:
            if self._items.boxes:
                sizes = np.array([found.picture_size])
                checked_places(found.boxes[None], sizes, np.array([number]))
        except InputError as error:
            return InputError(f"{self._name(number)}: {error}")
        return found

    def _next(self, number: int) -> Detection | InputError:
        """What is in a picture; those after it are decoded meanwhile, also of the next slice."""
        if not self._coming or self._coming[0] != number:
            self._coming = deque(self._from(number))
            self._stream = self._detector.stream(
                (self._pictures[place] for place in tuple(self._coming)),
                self._boxes,
                names=[self._name(place) for place in self._coming],
            )
        found = next(self._stream)
        self._coming.popleft()
        if not self._coming:
            self._stop()
        return found

    def _from(self, first: int) -> Sequence[int]:
        """A picture's number and those of the pictures that will be read after it."""
        after = bisect_right(self._expected, first)
        return [first, *self._expected[after:]]

    def _stop(self) -> None:
        """End the threads that decode."""
        self._stream, self._coming = iter(()), deque()

    def _name(self, number: int) -> str:
        if self._names is not None:
            return self._names[number]
        return picture_name(self._pictures[number], number)


def numbers_of_regions(detector: Detector, items: ImageItems) -> tuple[int, int]:
    """The least and the most regions of a picture that a matcher is to get from a detector."""
    if items.regions is not None:
        return items.regions, items.regions
    own = detector.bundle.manifest.selection
    most = min(own.max_boxes, items.max_regions or own.max_boxes)
    return min(own.min_boxes, most), most


def check_fits(detector: Detector, items: ImageItems, bundle: str) -> None:
    """Refuse a detector that does not go with a matcher, before any work.

    Args:
        detector: The detector.
        items: The matcher's description of images.
        bundle: What messages call the matcher's bundle.

    Raises:
        InputError: The matcher takes pictures, features of another width, or more regions than the
            detector has proposals.
    """
    if items.pictures:
        raise InputError(
            f"{bundle}: its model starts from pixels and needs no detector; leave detector= "
            "(--detector) out"
        )
    own = detector.bundle
    if detector.feature_dim != items.feature_dim:
        raise InputError(
            f"{own.path}: its regions have {detector.feature_dim} features each, and the model of "
            f"{bundle} takes {items.feature_dim}; give the detector that it was trained with"
        )
    if items.regions is not None and items.regions > detector.proposals:
        raise InputError(
            f"{own.path}: looks at {detector.proposals} proposals in a picture, and the model of "
            f"{bundle} takes {items.regions} regions; give more proposals= (--proposals)"
        )
