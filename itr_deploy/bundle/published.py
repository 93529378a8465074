"""Figures that a family's paper gives, to stand beside measured ones. None was measured here."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """One row of a paper's table.

    Attributes:
        model: As the paper names it.
        data: What it was measured on.
        image_to_text: R@1, R@5, R@10, None where they are not at hand.
        text_to_image: The same.
        rsum: Their sum, as the paper gives it or added up.
        source: The paper.
    """

    model: str
    data: str
    image_to_text: tuple[float, float, float] | None
    text_to_image: tuple[float, float, float] | None
    rsum: float
    source: str

    @property
    def title(self) -> str:
        """What a row of these figures is called."""
        return f"{self.model} in the paper, {self.data} ({self.source})"
