"""The region detector of a bundle: pictures in, regions out."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from numbers import Integral
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from itr_deploy.bundle.detector import Selection
from itr_deploy.bundle.detector_consistency import check_detector
from itr_deploy.bundle.manifest import ImageItems
from itr_deploy.bundle.store import DetectorBundle, read_detector_bundle
from itr_deploy.errors import InputError, UsageError
from itr_deploy.runtime.backends import Backend, open_backend
from itr_deploy.runtime.cpus import available_cores
from itr_deploy.runtime.detector.detection import Detection
from itr_deploy.runtime.detector.looking import Looking
from itr_deploy.runtime.detector.networks import Networks
from itr_deploy.runtime.detector.preparing import Prepared, prepared
from itr_deploy.runtime.encoding.images import CheckedImages
from itr_deploy.runtime.encoding.pictures import (
    MOST_THREADS,
    check_picture,
    listed_pictures,
    picture_name,
)
from itr_deploy.runtime.encoding.regions import Regions
from itr_deploy.runtime.forks import OneProcess
from itr_deploy.runtime.pictures.decode import Picture, decoded, is_picture, made_ahead
from itr_deploy.values import PATH, TEXT, checked, or_none, satisfying, whole

log = logging.getLogger(__name__)

Boxes: TypeAlias = int | tuple[int, int]
"""How many regions a picture gets: a number, or the least and the most."""

TAKER = "a region detector starts from pixels"
BACKEND = satisfying(
    "a backend or the name of one",
    lambda value: isinstance(value, str) or hasattr(value, "run_all"),
)


class Detector(OneProcess):
    """A region detector, ready to look at pictures. Safe to use from several threads.

    Of the published detectors' programs it is the exact form: the boxes in their order, and the
    features that published matchers were trained on.

    Attributes:
        bundle: Its opened bundle.
        backend: What runs it.
        proposals: How many proposals it looks at in a picture where a call does not say.

    Examples:
        >>> detector = Detector.load("detector/")
        >>> regions = detector.regions(["a.png", "b.png"], boxes=3)
        >>> regions.features.shape == (2, 3, detector.feature_dim)
        True
        >>> [len(found) <= 9 for found in detector.detect(["a.png"], boxes=(1, 9))]
        [True]
    """

    def __init__(
        self, bundle: DetectorBundle, backend: Backend, proposals: int | None = None
    ) -> None:
        """Assemble a detector from its parts; `load` is the usual way."""
        self.bundle = bundle
        self.backend = backend
        self.proposals = proposals or bundle.manifest.proposals.kept
        self._networks = Networks(backend, bundle.manifest)

    def __repr__(self) -> str:
        """Dialect, bundle and backend."""
        dialect = self.bundle.manifest.dialect
        return f"<Detector {dialect} {str(self.bundle.path)!r}, {self.backend.description}>"

    @classmethod
    @checked(bundle=PATH, device=TEXT, backend=BACKEND, proposals=whole(1))
    def load(
        cls,
        bundle: str | Path,
        device: str = "cpu",
        threads: int | None = None,
        backend: str | Backend = "auto",
        *,
        proposals: int | None = None,
    ) -> Detector:
        """Open a detector's bundle.

        Args:
            bundle: The bundle's directory.
            device: ``"cpu"`` or ``"cuda"``.
            threads: Compute threads on the CPU; None for ``$ITR_DEPLOY_THREADS``, else
                ``$OMP_NUM_THREADS``, else every core that affinity and CPU quota allow.
            backend: The backend that runs the graphs, see `Matcher.load`.
            proposals: How many proposals are looked at in a picture where a call does not say,
                instead of what the detector was exported with; see `regions`.

        Raises:
            BundleError: The bundle is missing or damaged, or is a matcher's.
            EngineError: The bundle has no engines for the backend asked for.
            SetupError: A library or the device is missing.
            UsageError: The device or backend is unknown.
        """
        opened = read_detector_bundle(bundle)
        check_detector(opened)
        if isinstance(backend, str):
            backend = open_backend(opened, device, backend, threads)
        made = (opened.manifest.dialect, opened.manifest.precision)
        log.info("%s: %s, %s, runs by %s", opened.path, *made, backend.description)
        return cls(opened, backend, proposals)

    def images(self, pictures: Any, items: ImageItems) -> CheckedImages:
        """Pictures as images of a matcher; it asks for them with ``detector=``.

        Args:
            pictures: As for `regions`.
            items: The matcher's description of images.

        Raises:
            InputError: These are no pictures.
        """
        from itr_deploy.runtime.detector.images import DetectedImages

        return DetectedImages(self, items, pictures)

    @property
    def feature_dim(self) -> int:
        """Width of a region's feature."""
        return self.bundle.manifest.feature_dim

    def regions(
        self,
        pictures: Sequence[Picture],
        boxes: Boxes | None = None,
        proposals: int | None = None,
    ) -> Regions:
        """The features of pictures' regions, as matchers take them.

        Args:
            pictures: Paths, files' contents in bytes, images of Pillow's, or ``uint8 [H, W, 3]``,
                of any sizes; or ``uint8 [N, H, W, 3]``.
            boxes: How many regions a picture gets: a number, or the least and the most, such as
                ``(10, 100)``. None for what the detector was exported with.
            proposals: How many proposals are looked at in a picture, instead of what the detector
                was exported with, mostly 300. The time is proportional to it. Fewer give other
                regions; a region's feature is the same.

        Returns:
            Features, boxes in the pictures' pixels, and the pictures' sizes: arrays where every
            picture has as many regions, else lists. A picture with fewer proposals than asked for
            has as many as there are, and a warning names it.

        Raises:
            InputError: A picture cannot be decoded, or nothing is proposed in it; or the detector
                gives values that are not finite. The message names the picture.
            UsageError: More regions than proposals are asked for, or a number is not valid.
        """
        found = self.detect(pictures, boxes, proposals)
        features, places = [one.features for one in found], [one.boxes for one in found]
        sizes = np.array([one.picture_size for one in found], np.int64).reshape(-1, 2)
        if len({len(one) for one in found}) > 1:
            return Regions(features, places, sizes)
        count = len(found[0]) if found else self._asked(boxes, proposals)[0].max_boxes
        return Regions(
            np.array(features, np.float32).reshape(-1, count, self.feature_dim),
            np.array(places, np.float32).reshape(-1, count, 4),
            sizes,
        )

    def detect(
        self,
        pictures: Sequence[Picture],
        boxes: Boxes | None = None,
        proposals: int | None = None,
    ) -> list[Detection]:
        """The regions of pictures, and what each of them shows.

        Args:
            pictures: As for `regions`.
            boxes: As for `regions`.
            proposals: As for `regions`.

        Raises:
            InputError: As for `regions`.
            UsageError: As for `regions`.
        """
        given = listed_pictures(pictures, TAKER)
        found = []
        # For one picture, threads would only cost time.
        for one in self._stream(given, boxes, proposals, None, ahead=len(given) > 1):
            if isinstance(one, InputError):
                raise one
            found.append(one)
        return found

    def stream(
        self,
        pictures: Iterable[Picture],
        boxes: Boxes | None = None,
        proposals: int | None = None,
        *,
        names: Sequence[str] | None = None,
    ) -> Iterator[Detection | InputError]:
        """Detect in any number of pictures, with a few of them in memory at a time.

        Args:
            pictures: Anything to loop over that gives pictures, see `regions`. The next ones are
                decoded and resized in threads meanwhile.
            boxes: As for `regions`.
            proposals: As for `regions`.
            names: What each picture is called in a message; by default its path or its number.

        Yields:
            For every picture in turn what was found in it, or an `InputError` that says why nothing
            was; it is not raised, so that one broken picture does not end the others.

        Raises:
            InputError: One picture is given instead of several, or what cannot be looped over; at
                the call.
            UsageError: As for `regions`, at the call.
        """
        if is_picture(pictures) or not isinstance(pictures, Iterable):
            listed_pictures(pictures, TAKER)
        return self._stream(pictures, boxes, proposals, names, ahead=True)

    def _stream(
        self,
        pictures: Iterable[Picture],
        boxes: Boxes | None,
        proposals: int | None,
        names: Sequence[str] | None,
        *,
        ahead: bool,
    ) -> Iterator[Detection | InputError]:
        """`stream`, which checks its arguments at the call and not as it is read."""
        looking = Looking(self._networks, self.bundle.manifest, *self._asked(boxes, proposals))
        given = (
            (one, picture_name(one, number) if names is None else names[number])
            for number, one in enumerate(pictures)
        )
        threads = min(available_cores(), MOST_THREADS) if ahead else 0
        return _found(looking, made_ahead(given, threads, self._prepared))

    def _prepared(self, picture: Picture, name: str) -> Prepared:
        """A picture as the first network takes it, decoded as the published programs do."""
        check_picture(picture, name, TAKER)
        manifest = self.bundle.manifest
        pixels = decoded(picture, name, transparent="ignored")
        return prepared(pixels, name, manifest.dialect, manifest.sides)

    def _asked(self, boxes: Boxes | None, proposals: int | None) -> tuple[Selection, int]:
        """The manifest's selection and number of proposals, or those that are asked for.

        Raises:
            UsageError: A number is not valid, or there are more regions than proposals.
        """
        selection = self.bundle.manifest.selection
        kept = PROPOSALS("proposals", proposals) or self.proposals
        asked = BOXES("boxes", boxes)
        if asked is not None:
            least, most = asked if isinstance(asked, (tuple, list)) else (asked, asked)
            counts = {"min_boxes": int(least), "max_boxes": int(most)}
            selection = selection.model_copy(update=counts)
        if selection.min_boxes > kept:
            raise UsageError(
                f"boxes={selection.min_boxes} (--boxes) are more than the {kept} proposals that "
                "are looked at in a picture; give a larger proposals= (--proposals)"
            )
        return selection, kept


def _found(
    looking: Looking, ahead: Generator[Prepared | InputError, None, None]
) -> Iterator[Detection | InputError]:
    with closing(ahead):
        yield from looking.found(ahead)


def _are_boxes(value: Any) -> bool:
    counts = value if isinstance(value, (tuple, list)) and len(value) == 2 else [value]
    whole_ones = all(isinstance(n, Integral) and not isinstance(n, bool) for n in counts)
    return whole_ones and 1 <= counts[0] <= counts[-1]


BOXES = or_none(
    satisfying("a number of at least 1, or the least and the most as in (10, 100)", _are_boxes)
)
PROPOSALS = or_none(whole(1))
