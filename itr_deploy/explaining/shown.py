"""What a page shows of an explanation: words, and the regions that light up for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from itr_deploy.runtime.encoding.places import Placed
from itr_deploy.runtime.explanation import ATTENDS, Explanation
from itr_deploy.runtime.hits import Hit

MOST_REGIONS = 6
"""Regions that light up for a word."""

LEAST_SHARE = 0.15
"""Regions of a smaller share of a word's largest weight stay dark."""


@dataclass(frozen=True)
class ShownRegion:
    """A region that lights up for a word.

    Attributes:
        number: The region's number, from 0.
        weight: Its weight.
        share: The same as a share of the word's largest.
        box: x, y, width and height in pixels, None where the gallery has no boxes.
    """

    number: int
    weight: float
    share: float
    box: tuple[float, float, float, float] | None


@dataclass(frozen=True)
class ShownWord:
    """A word.

    Attributes:
        word: The word.
        score: How well it is matched.
        regions: The regions that light up for it, faintest first: the strongest is drawn on top.
    """

    word: str
    score: float
    regions: tuple[ShownRegion, ...]

    @property
    def strongest(self) -> int | None:
        """The number of its strongest region, None if it has none."""
        return self.regions[-1].number if self.regions else None


@dataclass(frozen=True)
class ShownQuery:
    """A query, and its hits."""

    text: str
    hits: tuple[ShownHit, ...]

    @property
    def words(self) -> list[str]:
        """Its words as the model reads them; none if there are no hits."""
        return next(([word.word for word in hit.words] for hit in self.hits if hit.words), [])

    @property
    def best(self) -> int:
        """The place of the word that the hits match best, which is lit at first.

        The first and the last are the model's own marks.
        """
        inner = range(1, len(self.words) - 1) or range(1)
        told = [hit.words for hit in self.hits if hit.words]
        return max(inner, key=lambda place: sum(words[place].score for words in told))


@dataclass(frozen=True)
class ShownHit:
    """A hit and what matched.

    Attributes:
        hit: The hit.
        words: The words of the query; none if nothing can be told of this hit.
        weights: The weights of each region, in the order of the words.
        boxes: Each region's x1, y1, x2, y2 in pixels; empty where the gallery has none.
        size: The picture's width and height in pixels, None where it is not known.
        has_picture: Whether its picture is there.
        about: Which step this is, and how exact; or why nothing can be told.
    """

    hit: Hit
    words: tuple[ShownWord, ...]
    weights: tuple[tuple[float, ...], ...]
    boxes: tuple[tuple[float, ...], ...]
    size: tuple[float, float] | None
    has_picture: bool
    about: str

    @property
    def is_drawn(self) -> bool:
        """Whether the boxes are drawn over the picture."""
        return self.has_picture and self.size is not None


def shown_hit(hit: Hit, explanation: Explanation, *, has_picture: bool) -> ShownHit:
    """What a page shows of a hit."""
    placed = explanation.placed
    width_height = None if placed is None else placed.picture_size.tolist()
    return ShownHit(
        hit=hit,
        words=tuple(_word(explanation, place) for place in range(len(explanation.words))),
        weights=tuple(map(tuple, explanation.attention.T.tolist())),
        boxes=() if placed is None else tuple(map(tuple, placed.boxes.tolist())),
        size=None if width_height is None else (width_height[0], width_height[1]),
        has_picture=has_picture,
        about=_about(explanation),
    )


def untold_hit(hit: Hit, reason: str) -> ShownHit:
    """A hit of which nothing can be told, such as one for which a model closes its gates."""
    return ShownHit(
        hit, (), (), (), None, has_picture=False, about=f"{reason[:1].upper()}{reason[1:]}"
    )


def _word(explanation: Explanation, place: int) -> ShownWord:
    weights = explanation.attention[place]
    largest = float(weights.max())
    lit = [
        ShownRegion(
            int(region),
            float(weights[region]),
            float(weights[region]) / largest,
            None if explanation.placed is None else _corner(explanation.placed, int(region)),
        )
        for region in explanation.strongest(place, MOST_REGIONS)
        if weights[region] > 0 and weights[region] >= LEAST_SHARE * largest
    ]
    score = float(explanation.word_scores[place])
    return ShownWord(explanation.words[place], score, tuple(reversed(lit)))


def _corner(placed: Placed, region: int) -> tuple[float, float, float, float]:
    left, top, right, bottom = placed.boxes[region].tolist()
    return left, top, right - left, bottom - top


def _about(explanation: Explanation) -> str:
    said = ATTENDS[explanation.shown.attends]
    numbers: Sequence[int] = sorted({one.step for one in explanation.steps})
    if len(numbers) > 1:
        said = f"step {explanation.step} of {numbers[-1]}: {said}"
    said = f"{said[:1].upper()}{said[1:]}"
    return said if explanation.exact else f"{said}; from values that are rounded, as the score is"
