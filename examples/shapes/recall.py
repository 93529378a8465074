"""Recall at 1, 5 and 10 both ways, with five captions a picture in order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from examples.shapes.captions import CAPTIONS_PER_PICTURE

CUTOFFS = (1, 5, 10)


@dataclass(frozen=True)
class Recalls:
    """Percentages at the three cutoffs."""

    image_to_text: tuple[float, ...]
    text_to_image: tuple[float, ...]

    @property
    def rsum(self) -> float:
        """The sum of all six, by which the field chooses its best epoch."""
        return sum(self.image_to_text) + sum(self.text_to_image)

    def __str__(self) -> str:
        """Both directions on one line."""
        image, text = (
            " / ".join(f"{value:.1f}" for value in way)
            for way in (self.image_to_text, self.text_to_image)
        )
        return f"image->text {image}, text->image {text}, rsum {self.rsum:.1f}"


def recalls(scores: NDArray[np.float32]) -> Recalls:
    """Recall from the scores `[N, 5 N]` of N pictures and their captions, higher is better.

    A tie counts against the right answer: a model that scores all alike has recalled nothing.
    """
    pictures, captions = scores.shape
    owners = np.arange(captions) // CAPTIONS_PER_PICTURE
    right = scores[owners, np.arange(captions)]
    picture_ranks = (scores >= right).sum(axis=0) - 1
    best = right.reshape(pictures, CAPTIONS_PER_PICTURE).max(axis=1)
    foreign = owners[None, :] != np.arange(pictures)[:, None]
    caption_ranks = ((scores >= best[:, None]) & foreign).sum(axis=1)
    return Recalls(_at_cutoffs(caption_ranks), _at_cutoffs(picture_ranks))


def _at_cutoffs(ranks: NDArray[np.int64]) -> tuple[float, ...]:
    return tuple(100 * float((ranks < cutoff).mean()) for cutoff in CUTOFFS)
