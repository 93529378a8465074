"""Figures that the families' papers give, to stand beside measured ones. None was measured here."""

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


IMRAM = (
    Published(
        model="Full-IMRAM",
        data="Flickr30K 1K test",
        image_to_text=(74.1, 93.0, 96.6),
        text_to_image=(53.9, 79.4, 87.2),
        rsum=484.2,
        source="Chen et al., CVPR 2020",
    ),
)
DIME = (
    Published(
        model="DIME, ensemble of both directions",
        data="Flickr30K 1K test",
        image_to_text=None,
        text_to_image=None,
        rsum=520.0,
        source="the base of Qu et al., LeaPRR, SIGIR 2023",
    ),
)
LEAPRR = (
    Published(
        model="LeaPRR on the DIME ensemble",
        data="Flickr30K 1K test",
        image_to_text=None,
        text_to_image=None,
        rsum=535.6,
        source="Qu et al., SIGIR 2023",
    ),
    Published(
        model="LeaPRR on VSE∞",
        data="MS-COCO 5K test",
        image_to_text=None,
        text_to_image=None,
        rsum=451.5,
        source="Qu et al., SIGIR 2023",
    ),
)
BY_FAMILY: dict[str, tuple[Published, ...]] = {"imram": IMRAM, "dime": DIME, "leaprr": LEAPRR}


def published(families: set[str]) -> list[Published]:
    """What the papers give for these families."""
    return [row for name in sorted(families) for row in BY_FAMILY.get(name, ())]
