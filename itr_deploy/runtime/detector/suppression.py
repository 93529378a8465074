"""Non-maximum suppression: of boxes that overlap much, the best stays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from itr_deploy.bundle.detector import Dialect
from itr_deploy.runtime.detector.geometry import Boxes


@dataclass(frozen=True)
class Rule:
    """When one box suppresses another.

    Attributes:
        overlap: Their intersection over union, from which on it does.
        plus: What a side has more than its ends' distance, 0 or 1.
        inclusive: Whether ``overlap`` itself suppresses.
    """

    overlap: float
    plus: int
    inclusive: bool

    @classmethod
    def of(cls, dialect: Dialect, overlap: float) -> Rule:
        """Caffe's rule, or detectron2's."""
        caffe = dialect == "bua-caffe"
        return cls(overlap, plus=int(caffe), inclusive=caffe)

    def suppresses(self, overlaps: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Whether boxes of these overlaps suppress each other."""
        least = np.float32(self.overlap)
        return overlaps >= least if self.inclusive else overlaps > least


def by_score(scores: NDArray[np.floating]) -> NDArray[np.int64]:
    """Numbers of items from the best score on; of equal scores the lower number is first."""
    return np.argsort(-scores, kind="stable")


def surviving(
    boxes: Boxes, scores: NDArray[np.float32], rule: Rule, most: int | None = None
) -> NDArray[np.int64]:
    """Greedy suppression: the best box stays, what it suppresses goes, and so on with the rest.

    Args:
        boxes: ``float32 [n, 4]``.
        scores: ``float32 [n]``.
        rule: What suppresses.
        most: Stop after so many survivors.

    Returns:
        ``int64 [m]``, numbers of the survivors, from the best score on.
    """
    rest = by_score(scores)
    # One array for each end and one for the areas: what is left of them shrinks with every round.
    x1, y1, x2, y2 = np.ascontiguousarray(boxes[rest].T)
    plus = np.float32(rule.plus)
    x2, y2 = x2 + plus, y2 + plus
    area = (x2 - x1) * (y2 - y1)
    kept: list[int] = []
    while rest.size and (most is None or len(kept) < most):
        kept.append(int(rest[0]))
        width = np.minimum(x2[0], x2[1:]) - np.maximum(x1[0], x1[1:])
        height = np.minimum(y2[0], y2[1:]) - np.maximum(y1[0], y1[1:])
        shared = np.maximum(width, 0) * np.maximum(height, 0)
        union = area[0] + area[1:] - shared
        overlap = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
        stay = np.flatnonzero(~rule.suppresses(overlap)) + 1
        rest, x1, y1, x2, y2, area = (one[stay] for one in (rest, x1, y1, x2, y2, area))
    return np.array(kept, np.int64)
