"""Figures from the families' papers, shown beside measured ones. None was measured here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

DataSet = Literal["f30k", "coco"]
"""Flickr30K and MS-COCO, as the field's data directories begin: ``f30k_precomp``."""

Recalls = tuple[float, float, float]
"""R@1, R@5 and R@10."""

CAPTIONS_PER_IMAGE = 5
"""In every published test set."""


@dataclass(frozen=True)
class EvaluationProtocol:
    """What published figures were measured on, and how.

    Attributes:
        name: Its human-readable name.
        data_set: The data set.
        images: Number of images of the split.
        folds: Number of folds over which the figures are averaged, 1 for the whole split.
    """

    name: str
    data_set: DataSet
    images: int
    folds: int = 1

    def fits(self, images: int, captions: int, folds: int) -> bool:
        """Whether an evaluation of this size, which also averages over folds, can follow it."""
        own = self.images, self.images * CAPTIONS_PER_IMAGE
        return own == (images, captions) and self.folds in (1, folds)


FLICKR = EvaluationProtocol("Flickr30K 1K test", "f30k", 1000)
COCO_1K = EvaluationProtocol("MS-COCO 1K test, mean of 5 folds", "coco", 5000, folds=5)
COCO_5K = EvaluationProtocol("MS-COCO 5K test", "coco", 5000)
PROTOCOLS = (FLICKR, COCO_1K, COCO_5K)


@dataclass(frozen=True)
class Published:
    """One row of a paper's table.

    Attributes:
        model: The paper's name for it.
        protocol: What it was measured on.
        image_to_text: R@1, R@5 and R@10, None if not available.
        text_to_image: The same for the other direction.
        rsum: Their sum, as the paper gives it or added up here.
        source: The paper.
    """

    model: str
    protocol: EvaluationProtocol
    image_to_text: Recalls | None
    text_to_image: Recalls | None
    rsum: float
    source: str

    @classmethod
    def of(
        cls,
        model: str,
        protocol: EvaluationProtocol,
        image_to_text: Recalls,
        text_to_image: Recalls,
        source: str,
    ) -> Published:
        """A row whose sum is added up."""
        rsum = round(sum(image_to_text) + sum(text_to_image), 1)
        return cls(model, protocol, image_to_text, text_to_image, rsum, source)

    @property
    def title(self) -> str:
        """The title of a row of these figures."""
        return f"{self.model} in the paper, {self.protocol.name} ({self.source})"
