"""Figures from the families' papers, shown beside measured ones. None was measured here."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """One row of a paper's table.

    Attributes:
        model: The paper's name for it.
        data: The data it was measured on.
        image_to_text: R@1, R@5 and R@10, None if not available.
        text_to_image: The same for the other direction.
        rsum: Their sum, as the paper gives it or added up here.
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
        """The title of a row of these figures."""
        return f"{self.model} in the paper, {self.data} ({self.source})"
