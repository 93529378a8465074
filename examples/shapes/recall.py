"""Recall at 1, 5 and 10 both ways, with five captions per picture in order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from examples.shapes.captions import CAPTIONS_PER_PICTURE
from itr_deploy.evaluation.measures.recall import CUTOFFS, ranks, recall_curve


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

    A tie counts against the right answer: a model that scores everything alike recalls nothing.
    """
    found = ranks(scores, CAPTIONS_PER_PICTURE)
    return Recalls(
        tuple(recall_curve(found.image_to_text, CUTOFFS)),
        tuple(recall_curve(found.text_to_image, CUTOFFS)),
    )
