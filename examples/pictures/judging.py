"""How good a detector is: which objects its regions cover, and whether it names them rightly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from examples.pictures.truth import Objects
from itr_deploy.runtime.detector.detection import Detection
from itr_deploy.runtime.detector.geometry import overlaps

COVERED = 0.5
"""Least overlap of a region with an object that it covers."""


@dataclass(frozen=True)
class Judged:
    """A detector's figures on some pictures.

    Attributes:
        objects: Number of objects in them.
        covered: Share of the objects that a region covers.
        classes: Share of the covered ones whose best region has the right class.
        attributes: The same of the attribute.
    """

    objects: int
    covered: float
    classes: float
    attributes: float

    def __str__(self) -> str:
        return (
            f"{self.objects} objects, {self.covered:.1%} of them covered by a region; of these the "
            f"class is right for {self.classes:.1%}, the attribute for {self.attributes:.1%}"
        )


def judged(found: Sequence[Detection], truth: Sequence[Objects]) -> Judged:
    """Compare what was found in pictures with what is in them."""
    covered, classes, attributes = [], [], []
    for regions, objects in zip(found, truth, strict=True):
        shared = overlaps(objects.boxes[:, None], regions.boxes[None], plus=1)
        best, own = shared.max(axis=1), shared.argmax(axis=1)
        covered.append(best > COVERED)
        classes.append(regions.classes[own] == objects.classes)
        assert regions.attributes is not None, "this detector tells attributes"
        attributes.append(regions.attributes[own] == objects.attributes)
    there = np.concatenate(covered)
    shares = (np.concatenate(right)[there].mean() for right in (classes, attributes))
    return Judged(len(there), float(there.mean()), *map(float, shares))
