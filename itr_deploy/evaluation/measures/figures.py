"""The figures that the field reports, for both directions of a search."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

from itr_deploy.bundle.modality import direction_title
from itr_deploy.bundle.record import Record

T = TypeVar("T")


class BothWays(Record, Generic[T]):
    """The same thing for both directions.

    Attributes:
        image_to_text: For images that search captions.
        text_to_image: For captions that search images.
    """

    image_to_text: T
    text_to_image: T

    def named(self) -> Iterator[tuple[str, T]]:
        """The name of each direction, and its value."""
        yield direction_title("image"), self.image_to_text
        yield direction_title("text"), self.text_to_image


class DirectionFigures(Record):
    """Figures of one direction.

    Attributes:
        r1: Percentage of queries whose right answer is first.
        r5: Percentage of queries whose right answer is among the first five.
        r10: The same for the first ten.
        median_rank: Median of the ranks, rounded down as is usual in the field; the best rank is 1.
        mean_rank: Mean of the ranks.
    """

    r1: float
    r5: float
    r10: float
    median_rank: float
    mean_rank: float

    @property
    def recalls(self) -> tuple[float, float, float]:
        """R@1, R@5 and R@10."""
        return self.r1, self.r5, self.r10

    def __sub__(self, other: DirectionFigures) -> DirectionFigures:
        return DirectionFigures(**{name: value - getattr(other, name) for name, value in self})


class Recall(BothWays[DirectionFigures]):
    """Figures of both directions.

    Attributes:
        rsum: Sum of the six recalls, from 0 to 600.
    """

    rsum: float

    @classmethod
    def of(cls, image_to_text: DirectionFigures, text_to_image: DirectionFigures) -> Recall:
        """Figures of both directions, with their sum."""
        return cls(
            image_to_text=image_to_text,
            text_to_image=text_to_image,
            rsum=sum(image_to_text.recalls) + sum(text_to_image.recalls),
        )

    def __sub__(self, other: Recall) -> Recall:
        return Recall(
            image_to_text=self.image_to_text - other.image_to_text,
            text_to_image=self.text_to_image - other.text_to_image,
            rsum=self.rsum - other.rsum,
        )
