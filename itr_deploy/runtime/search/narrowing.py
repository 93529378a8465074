"""What narrows a shortlist between the coarse embedding and the matcher, cheapest first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol, TypeVar

from itr_deploy.bundle.modality import Modality
from itr_deploy.runtime.cpus import multiplies_bytes
from itr_deploy.runtime.matcher import Matcher
from itr_deploy.runtime.scorer import Scorer

Narrowing = Literal["prefilter", "refine"]
"""A part of the matcher that narrows, and its stage of a search."""


class Narrower(NamedTuple):
    """A part of the matcher that orders a shortlist.

    Attributes:
        stage: Its stage of a search.
        scorer: Scores pairs.
        width: Items that it reads per query.
    """

    stage: Narrowing
    scorer: Scorer
    width: int


class _Reads(Protocol):
    @property
    def width(self) -> int: ...


Reads = TypeVar("Reads", bound=_Reads)
"""What has the width of what it reads."""


def read_as_bytes(matcher: Matcher, gallery: Modality) -> frozenset[str]:
    """Names of the gallery items' tensors that are worth holding as bytes.

    Those that prefilter and refiner can read so, where the CPU is faster with them.
    """
    if matcher.backend.device != "cpu" or not multiplies_bytes():
        return frozenset()
    parts = (matcher.prefilter, matcher.refiner)
    return frozenset().union(*(part.in_bytes(gallery) for part in parts if part is not None))


def narrowers(
    prefilter: Scorer | None,
    prefilter_width: int | None,
    refiner: Scorer | None,
    refine_width: int | None,
) -> list[Narrower]:
    """The narrowers of a search: those that there are and that have a width."""
    given: tuple[tuple[Narrowing, Scorer | None, int | None], ...] = (
        ("prefilter", prefilter, prefilter_width),
        ("refine", refiner, refine_width),
    )
    return [
        Narrower(stage, scorer, width)
        for stage, scorer, width in given
        if scorer is not None and width is not None
    ]


def wider(chain: Sequence[Reads], width: int) -> list[Reads]:
    """The part of a chain that a shortlist of ``width`` items comes from.

    What reads no more than it leaves is skipped.
    """
    end = len(chain)
    while end and chain[end - 1].width <= width:
        end -= 1
    return list(chain[:end])


def used(chain: Sequence[Reads], width: int) -> list[Reads]:
    """What a search for ``width`` items uses of a chain, from the first to the last."""
    found: list[Reads] = []
    left = wider(chain, width)
    while left:
        *left, last = left
        found.insert(0, last)
        left = wider(left, last.width)
    return found
