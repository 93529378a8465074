"""The field's measures, from a matrix of scores: Recall@K, median and mean rank, rSum.

The rank of a right answer is 1 plus the number of wrong ones that score at least as much. A tie
counts against the right answer, so a model that gives every item the same score recalls nothing.
The field's programs sort and leave the order of ties to the sort; without ties the figures are the
same. NaN always loses: as a right answer it beats nothing, as a wrong answer it ranks above.

An image without captions has no right answer: it is an item like the others and no query. Its rank
is 0, and it does not count in any figure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from itr_deploy.errors import UsageError
from itr_deploy.evaluation.data.answers import Answers
from itr_deploy.evaluation.measures.figures import DirectionFigures, Recall
from itr_deploy.evaluation.scores.split_scores import Scores

CUTOFFS = (1, 5, 10)

BLOCK_BYTES = 64 << 20
"""Bytes of scores that are read at a time."""


@dataclass(frozen=True, eq=False)
class Ranks:
    """The rank of every query's right answer, from 1. Equal if all ranks are; not hashable.

    Attributes:
        image_to_text: ``int64 [N]``, the rank of each image's best caption, 0 for an image without
            captions.
        text_to_image: ``int64 [C]``, the rank of each caption's image.
    """

    image_to_text: NDArray[np.int64]
    text_to_image: NDArray[np.int64]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Ranks):
            return NotImplemented
        return np.array_equal(self.image_to_text, other.image_to_text) and np.array_equal(
            self.text_to_image, other.text_to_image
        )

    __hash__ = None  # type: ignore[assignment]  # Arrays can change.


def ranks(scores: Scores, answers: Answers | int, block_bytes: int = BLOCK_BYTES) -> Ranks:
    """Ranks of the right answers.

    Args:
        scores: ``float32 [N, C]``, higher is better; read in blocks of rows, twice.
        answers: Which captions belong to which image, or how many consecutive captions every image
            has.
        block_bytes: Size of a block in bytes.

    Raises:
        UsageError: The matrix has another number of images or captions.

    Examples:
        >>> scores = np.array([[0.9, 0.2, 0.3, 0.1], [0.4, 0.1, 0.8, 0.2]], np.float32)
        >>> found = ranks(scores, 2)
        >>> found.image_to_text.tolist(), found.text_to_image.tolist()
        ([1, 1], [1, 1, 1, 1])
    """
    images, captions = scores.shape
    if isinstance(answers, int):
        answers = Answers.equal(images, answers)
    if (len(answers.counts), len(answers.image_of)) != (images, captions):
        raise UsageError(
            f"scores of {images} images and {captions} captions; expected "
            f"{len(answers.counts)} images and {len(answers.image_of)} captions"
        )
    blocks = list(row_blocks(images, captions, block_bytes))
    right = np.concatenate([np.empty(0, np.float32), *(_own(scores, b, answers) for b in blocks)])
    best = answers.reduce(np.maximum, right)
    own = answers.reduce(np.add, ~(right < best[answers.image_of]))
    by_image = np.empty(images, np.int64)
    below = np.zeros(captions, np.int64)
    for rows in blocks:
        block = scores[rows, :]
        below += np.count_nonzero(block < right, axis=0)
        by_image[rows] = captions - np.count_nonzero(block < best[rows, None], axis=1)
    by_image += 1 - own
    return Ranks(np.where(answers.counts > 0, by_image, 0), images - below)


def recall(found: Ranks) -> Recall:
    """The field's figures from ranks."""
    return Recall.of(_direction(found.image_to_text), _direction(found.text_to_image))


def mean_recall(folds: Sequence[Recall]) -> Recall:
    """The mean of every figure over folds, as published for MS-COCO 1K."""

    def mean(directions: list[DirectionFigures]) -> DirectionFigures:
        values = [list(direction.model_dump().values()) for direction in directions]
        figures = np.mean(values, axis=0).tolist()
        return DirectionFigures(**dict(zip(DirectionFigures.model_fields, figures, strict=True)))

    return Recall.of(
        mean([fold.image_to_text for fold in folds]), mean([fold.text_to_image for fold in folds])
    )


def recall_curve(found: NDArray[np.int64], depths: Sequence[int]) -> list[float]:
    """For each depth, the percentage of ranks ``int64 [Q]`` up to it; ranks of 0 do not count."""
    queries = _queries(found)
    return [_percent(queries <= depth) for depth in depths]


def _direction(found: NDArray[np.int64]) -> DirectionFigures:
    r1, r5, r10 = recall_curve(found, CUTOFFS)
    queries = _queries(found)
    median = float(np.floor(np.median(queries)))
    return DirectionFigures(
        r1=r1, r5=r5, r10=r10, median_rank=median, mean_rank=float(queries.mean())
    )


def _queries(found: NDArray[np.int64]) -> NDArray[np.int64]:
    """The ranks of items that are queries."""
    return found[found > 0]


def _percent(hits: NDArray[np.bool_]) -> float:
    return 100 * float(hits.mean())


def _own(scores: Scores, rows: slice, answers: Answers) -> NDArray[np.float32]:
    """Scores ``float32 [n]`` of the captions of a block's images with their own image."""
    captions = answers.captions(rows)
    part = scores[rows, captions]
    own: NDArray[np.float32] = part[
        answers.image_of[captions] - rows.start, np.arange(part.shape[1])
    ]
    return own


def row_blocks(rows: int, columns: int, block_bytes: int) -> Iterator[slice]:
    """Slices of the rows of a matrix of float32, none with more than ``block_bytes``."""
    step = max(1, block_bytes // max(1, 4 * columns))
    for start in range(0, rows, step):
        yield slice(start, min(start + step, rows))
