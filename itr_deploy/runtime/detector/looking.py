"""From prepared pictures to what is in them: both networks, and what is decided between them."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from itr_deploy.bundle.detector import DetectorManifest, Selection
from itr_deploy.errors import InputError
from itr_deploy.runtime.detector.detection import Detection
from itr_deploy.runtime.detector.networks import Networks, Seen, check_finite
from itr_deploy.runtime.detector.preparing import Prepared
from itr_deploy.runtime.detector.proposals import proposed
from itr_deploy.runtime.detector.selection import (
    most_probable_attribute,
    most_probable_class,
    selected,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Looking:
    """Looks at prepared pictures.

    Attributes:
        networks: The two networks.
        manifest: The detector's settings.
        selection: How many regions a picture gets.
        kept: How many proposals are looked at.
    """

    networks: Networks
    manifest: DetectorManifest
    selection: Selection
    kept: int

    def found(self, pictures: Iterator[Prepared | InputError]) -> Iterator[Detection | InputError]:
        """What is in each picture, in their order, or why nothing is.

        Args:
            pictures: Pictures, or why there is none; a few are taken at a time.
        """
        while taken := list(islice(pictures, self.networks.window)):
            yield from self._of_some(taken, self.networks.together)

    def _of_some(
        self, taken: Sequence[Prepared | InputError], together: int
    ) -> list[Detection | InputError]:
        """What is in some pictures; those of one shape go through the first network together."""
        found: dict[int, Detection | InputError] = {}
        alike: dict[tuple[int, int], list[tuple[int, Prepared]]] = {}
        for place, one in enumerate(taken):
            if isinstance(one, InputError):
                found[place] = one
            else:
                alike.setdefault(one.resized, []).append((place, one))
        for own in alike.values():
            for start in range(0, len(own), together):
                part = own[start : start + together]
                seen = self.networks.seen([picture.image for _, picture in part])
                for (place, picture), given in zip(part, seen, strict=True):
                    found[place] = self._tried(picture, given)
        return [found[place] for place in range(len(taken))]

    def _tried(self, picture: Prepared, seen: Seen) -> Detection | InputError:
        try:
            return self._detection(picture, seen)
        except InputError as error:
            return error

    def _detection(self, picture: Prepared, seen: Seen) -> Detection:
        """What is in a picture.

        Raises:
            InputError: Nothing is proposed in it, or a network gives what is not finite.
        """
        name, dialect = picture.name, self.manifest.dialect
        check_finite([seen.res4, seen.candidates.scores, seen.candidates.deltas], name)
        size, scale = picture.resized, picture.scale
        found = proposed(seen.candidates, self.manifest, size, scale, self.kept)
        if not len(found.boxes):
            raise InputError(
                f"{name}: the detector proposes nothing in its {picture.picture_size[0]} x "
                f"{picture.picture_size[1]} pixels, no part of it is large enough; leave it out, "
                "or give a larger picture"
            )
        judged = self.networks.judged(seen.res4, found.boxes)
        check_finite(judged, name)
        own = selected(found.boxes, judged, picture, dialect, self.selection)
        if not own.enough:
            log.warning(
                "%s: has %d regions, not %d: the detector's %d proposals give no more",
                *(name, len(own.boxes), self.selection.min_boxes, len(found.boxes)),
            )
        classes = most_probable_class(judged.classes[own.proposals], dialect)
        attributes = None
        if judged.attributes is not None:
            attributes = most_probable_attribute(judged.attributes[own.proposals], dialect)
        return Detection(
            features=judged.features[own.proposals],
            boxes=own.boxes,
            picture_size=picture.picture_size,
            classes=classes.numbers,
            class_confidence=classes.confidence,
            attributes=None if attributes is None else attributes.numbers,
            attribute_confidence=None if attributes is None else attributes.confidence,
            enough=own.enough,
        )
