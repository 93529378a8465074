"""Compares a detector's bundle, run as in production, with the plain program on a picture.

Both graphs are compared number by number. What is chosen between and after them is a ranking, in
which the smallest error may exchange two boxes, add one or drop one: whole pictures are judged by
how many of the regions are found again, and by their features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from itr_deploy.bundle.manifest import Precision
from itr_deploy.bundle.store import DetectorBundle
from itr_deploy.errors import InputError, ParityError
from itr_deploy.models.detector.plain import PlainDetector, PlainRegions
from itr_deploy.models.detector.plain.program import Dense, Heads
from itr_deploy.parity.parity_backend import parity_backend
from itr_deploy.parity.report import Comparison, ParityReport, compare
from itr_deploy.parity.tolerances import DEFAULTS, INVARIANCE_SHARE
from itr_deploy.runtime.backends import Backend
from itr_deploy.runtime.detector.detection import Detection
from itr_deploy.runtime.detector.detector import Detector
from itr_deploy.runtime.detector.geometry import overlaps
from itr_deploy.runtime.detector.networks import Networks
from itr_deploy.runtime.detector.selection import Judged
from itr_deploy.runtime.encoding.checks import NotFiniteError

Progress = Callable[[str], None]
Arrays = Mapping[str, NDArray[np.float32]]

SAME = 0.9
"""Intersection over union from which two boxes are one region."""

LOST: Mapping[Precision, float] = {"float32": 0.1, "float16": 0.2, "bfloat16": 0.3}
"""Share of a picture's regions that a bundle need not find again."""

TURNED: Mapping[Precision, float] = {"float32": 1e-3, "float16": 1e-2, "bfloat16": 5e-2}
"""Mean of 1 - cosine over the features of the regions that it finds again."""

TOGETHER = 2
"""Pictures of the batch that is compared with each of them alone."""

ALONE = 3
"""Regions that are computed one by one too."""


def compare_detector(
    plain: PlainDetector,
    bundle: DetectorBundle,
    picture: NDArray[np.uint8],
    progress: Progress = lambda step: None,
) -> ParityReport:
    """Compare a detector's bundle with the plain program.

    Args:
        plain: The loaded checkpoint with the bundle's settings.
        bundle: The bundle.
        picture: ``uint8 [H, W, 3]``: red, green, blue.
        progress: Called with the name of each step as it begins.

    Raises:
        InputError: Nothing is proposed in the picture.
        ParityError: A graph gives values that are NaN or infinite.
    """
    with parity_backend(bundle) as backend:
        try:
            return _Compared(plain, bundle, backend, picture).report(progress)
        except NotFiniteError as error:
            raise ParityError(f"{bundle.path} differs from PyTorch: {error}") from error


@dataclass(frozen=True, eq=False)
class _Compared:
    plain: PlainDetector
    bundle: DetectorBundle
    backend: Backend
    picture: NDArray[np.uint8]

    @property
    def _precision(self) -> Precision:
        return self.bundle.manifest.precision

    def report(self, progress: Progress) -> ParityReport:
        progress("the picture, in PyTorch")
        given = torch.from_numpy(np.array(self.picture))
        ready = self.plain.prepared(given)
        dense = self.plain.dense(ready.image)
        proposals, _ = self.plain.proposals(ready, dense)
        if not len(proposals):
            height, width = self.picture.shape[:2]
            raise InputError(
                f"nothing is proposed in the picture of {width} x {height} that PyTorch and the "
                "bundle are compared on; give another as picture= (--picture)"
            )
        progress(f"{len(proposals)} proposals, in PyTorch")
        heads = self.plain.heads(dense.res4, proposals)
        expected = self.plain.told(heads, self.plain.selected(ready, proposals, heads))
        progress("both graphs")
        image, boxes = ready.image.numpy(), proposals.numpy()
        got = self.backend.run("detector", {"image": image})
        judged = self._judged(dense.res4.numpy(), boxes)
        outputs = [*self._dense(got, dense), *self._regions(judged, heads)]
        progress("independence of batch and chunk")
        invariance = [*self._batched(image, got), *self._singly(dense, boxes, judged)]
        progress("regions of the whole picture")
        # As in production, from its pixels on.
        (found,) = Detector(self.bundle, self.backend).detect([self.picture])
        outputs += self._found(found, expected)
        return ParityReport(self.backend.description, tuple(outputs), tuple(invariance), ())

    def _dense(self, got: Arrays, expected: Dense) -> Iterator[Comparison]:
        """The dense graph's outputs; in half precision the regions judge them."""
        size = f"a map of {expected.res4.shape[2]} x {expected.res4.shape[3]}"
        allowed = DEFAULTS["float32"] if self._precision == "float32" else None
        for name in ("res4", "scores", "deltas"):
            reference = getattr(expected, name).numpy()
            yield compare(name, [(size, got[name], reference)], allowed)

    def _regions(self, got: Judged, expected: Heads) -> Iterator[Comparison]:
        """The regions' graph's outputs for the plain program's own map and proposals.

        In half precision a region may take another class's vector, from which its attributes jump.
        """
        pairs = {
            "features": (got.features, expected.features),
            "class_probabilities": (got.classes, expected.classes),
            "attribute_probabilities": (got.attributes, expected.attributes),
            "deltas of regions": (got.deltas, expected.deltas),
        }
        for name, (found, reference) in pairs.items():
            if reference is not None:
                assert found is not None, "checked as the bundle is opened"
                pair = (f"{len(reference)} regions", found, reference.numpy())
                jumps = name == "attribute_probabilities" and self._precision != "float32"
                yield compare(name, [pair], None if jumps else DEFAULTS[self._precision])

    def _batched(self, image: NDArray[np.float32], alone: Arrays) -> Iterator[Comparison]:
        """A picture in a batch with its mirror image, and alone."""
        both = np.concatenate([image, image[..., ::-1]])
        together = self.backend.run("detector", {"image": np.ascontiguousarray(both)})
        name = f"{TOGETHER} pictures"
        pairs = [(name, together[key][:1], alone[key]) for key in ("res4", "scores", "deltas")]
        yield compare("a picture in a batch", pairs, self._invariance)

    def _singly(
        self, dense: Dense, boxes: NDArray[np.float32], whole: Judged
    ) -> Iterator[Comparison]:
        """Regions in chunks, and one by one."""
        pairs = []
        for place in range(min(ALONE, len(boxes))):
            one = self._judged(dense.res4.numpy(), boxes[place : place + 1])
            pairs.append((f"region {place}", one.features, whole.features[place, None]))
        yield compare("a region alone", pairs, self._invariance)

    def _found(self, got: Detection, expected: PlainRegions) -> Iterator[Comparison]:
        """Regions of the whole picture: those found again, and how their features turned."""
        boxes = expected.boxes.numpy()
        theirs, again = found_again(boxes, got.boxes)
        lost = float(1 - again.mean())
        ours = expected.features.numpy()[again]
        found = got.features[theirs[again]]
        cosines = (ours * found).sum(axis=1) / np.maximum(
            np.linalg.norm(ours, axis=1) * np.linalg.norm(found, axis=1), 1e-12
        )
        turned = float(1 - cosines.mean()) if len(cosines) else 1.0
        samples = (f"{len(boxes)} regions",)
        for name, value, allowed in (
            ("regions not found again, share", lost, LOST[self._precision]),
            ("1 - cosine of those found again", max(turned, 0.0), TURNED[self._precision]),
        ):
            yield Comparison(name, samples, value, value, value, allowed, bool(np.isfinite(value)))

    def _judged(self, res4: NDArray[np.float32], boxes: NDArray[np.float32]) -> Judged:
        """The regions' graph in chunks, as in production."""
        return Networks(self.backend, self.bundle.manifest).judged(res4, boxes)

    @property
    def _invariance(self) -> float:
        return DEFAULTS[self._precision] * INVARIANCE_SHARE


def found_again(
    ours: NDArray[np.float32], theirs: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Which boxes are among others.

    Args:
        ours: ``[n, 4]``.
        theirs: ``[m, 4]``, at least one.

    Returns:
        The nearest of ``theirs`` to each box, ``int64 [n]``, and whether it is the same.
    """
    # Sides count one more, as in Caffe: a flat box at the picture's edge is the same as itself.
    shared = overlaps(ours[:, None], theirs[None], 1)
    return shared.argmax(axis=1), shared.max(axis=1) > SAME
