"""A model's figures in half precision from its scores in float32: only pairs that can change them.

The rank of a right answer changes where half precision moves a pair past it, so pairs near a right
answer's score decide, of queries whose right answer is near the first ten. How near is found out:
as far as any of the pairs that were scored in both moved, twice, and doubled until none moves
further. That no other pair does is likely, not proven.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from itr_deploy.evaluation.data.split import Split
from itr_deploy.evaluation.measures.figures import Recall
from itr_deploy.evaluation.measures.recall import CUTOFFS, ranks, recall
from itr_deploy.evaluation.scores.split_encoder import SplitItems
from itr_deploy.runtime.matcher import Matcher
from itr_deploy.runtime.search.ragged import score_ragged

TRIED = 20
"""Items that every hundredth caption is scored with to find out how far scores move."""
AT_ONCE = 64
"""Captions scored in a call; their numbers of images are near each other."""


@dataclass(frozen=True)
class Near:
    """What was found.

    Attributes:
        recall: The figures.
        moved: The furthest that a score moved.
        margin: How near to a right answer's score pairs were scored, at least twice as much.
        pairs: How many were.
    """

    recall: Recall
    moved: float
    margin: float
    pairs: int


def near_recall(matcher: Matcher, split: Split, plain: NDArray[np.float32]) -> Near:
    """The figures of a matcher whose scores are nearly known.

    Args:
        matcher: The one in half precision.
        split: Images with five captions each.
        plain: The scores of its float32 form, ``[images, captions]``.
    """
    scores = _Scores(matcher, split, plain)
    scores.score(_sample(plain.shape))
    margin = 4 * scores.moved
    while True:
        scores.score(near_pairs(plain, margin))
        if 2 * scores.moved <= margin:
            break
        margin = 4 * scores.moved
    found = recall(ranks(scores.merged, plain.shape[1] // plain.shape[0]))
    return Near(found, scores.moved, margin, int(scores.known.sum()))


def near_pairs(plain: NDArray[np.float32], margin: float) -> NDArray[np.bool_]:
    """The pairs whose scores can change which right answers are among the first ten.

    Args:
        plain: Scores ``[images, captions]``, as many captions an image, in the images' order.
        margin: Twice as far as a score may move.
    """
    images, captions = plain.shape
    each = captions // images
    image_of = np.arange(captions) // each
    right = plain[image_of, np.arange(captions)]
    best = right.reshape(images, each).max(axis=1)
    wanted = _near(plain.T, right, margin).T | _near(plain, best, margin)
    wanted[image_of, np.arange(captions)] = True
    return wanted


def _near(
    scores: NDArray[np.float32], right: NDArray[np.float32], margin: float
) -> NDArray[np.bool_]:
    """Of every row of queries, the items near its right answer, if that may be among ten."""
    distance = scores - right[:, None]
    surely_before = (distance > margin).sum(axis=1)
    found: NDArray[np.bool_] = np.abs(distance) <= margin
    found[surely_before >= max(CUTOFFS)] = False
    return found


def _sample(shape: tuple[int, ...]) -> NDArray[np.bool_]:
    images, captions = shape
    wanted = np.zeros((images, captions), np.bool_)
    rng = np.random.default_rng(0)
    for caption in range(0, captions, 100):
        wanted[rng.choice(images, min(TRIED, images), replace=False), caption] = True
    return wanted


class _Scores:
    """Scores of which some are those of a matcher and the rest the plain ones.

    Attributes:
        merged: ``float32 [images, captions]``.
        known: Which of them are the matcher's.
        moved: The largest difference of one of these from the plain one.
    """

    def __init__(self, matcher: Matcher, split: Split, plain: NDArray[np.float32]) -> None:
        items = SplitItems(matcher, split)
        images, captions = plain.shape
        self._images = items.encode_images(slice(0, images))
        self._texts = items.encode_captions(slice(0, captions))
        self._scorer, self._plain = matcher.scorer, plain
        self.merged, self.known, self.moved = plain.copy(), np.zeros(plain.shape, np.bool_), 0.0

    def score(self, wanted: NDArray[np.bool_]) -> None:
        """Score these pairs, where that is not done."""
        wanted = wanted & ~self.known
        counts = wanted.sum(axis=0)
        order = np.argsort(counts, kind="stable")
        for rows in np.array_split(order[counts[order] > 0], max(1, len(order) // AT_ONCE)):
            if not rows.size:
                continue
            places = [np.flatnonzero(wanted[:, row]) for row in rows]
            found = score_ragged(self._scorer, self._texts.take(rows), self._images, places)
            for row, images, values in zip(rows, places, found, strict=True):
                self.merged[images, row] = values
        self.known |= wanted
        if self.known.any():
            self.moved = float(np.abs(self.merged - self._plain)[self.known].max())
