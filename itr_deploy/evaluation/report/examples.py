"""Queries that a stage of a search won or lost against the stage before it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from itr_deploy.bundle.modality import MODALITIES, Modality, direction_title
from itr_deploy.evaluation.measures.search_stages import Stage, Staged

SHOWN = 3
"""Examples of each kind."""

HITS = 4
"""Number of best items shown per stage."""


@dataclass(frozen=True)
class Example:
    """One query at two stages.

    Attributes:
        number: The query's number.
        ranks: Ranks of its right answer before and after.
        right: Numbers of its right answers.
        tops: Numbers of the best items before and after.
    """

    number: int
    ranks: tuple[int, int]
    right: list[int]
    tops: tuple[list[int], list[int]]


@dataclass(frozen=True)
class Comparison:
    """Two stages in one direction: how many queries the later one won and lost, and some of them.

    A query is won if its right answer now comes first, and lost if it no longer does.
    """

    query: Modality
    before: Stage
    after: Stage
    won: int
    lost: int
    examples: dict[str, list[Example]]

    @property
    def direction(self) -> str:
        """The name of its direction."""
        return direction_title(self.query)

    def images(self) -> Iterator[int]:
        """Numbers of the images in its examples, some of them more than once."""
        for example in itertools.chain(*self.examples.values()):
            if self.query == "image":
                yield example.number
            else:
                yield from itertools.chain(example.right, *example.tops)


def comparisons(stages: Staged) -> Iterator[Comparison]:
    """Compare every stage with the one before it, in both directions."""
    for query in MODALITIES:
        for before, after in zip(stages.stages, stages.stages[1:], strict=False):
            ranks = before.of(query), after.of(query)
            won, lost = _gains(*ranks), _gains(*ranks[::-1])
            chosen = {"won": won[:SHOWN], "lost": lost[:SHOWN]}
            examples = {
                kind: [_example(stages, query, before, after, int(n)) for n in numbers]
                for kind, numbers in chosen.items()
            }
            yield Comparison(query, before, after, len(won), len(lost), examples)


def _gains(before: NDArray[np.int64], after: NDArray[np.int64]) -> NDArray[np.int64]:
    """Queries whose right answer is first only in ``after``, worst rank in ``before`` first."""
    found = np.flatnonzero((after == 1) & (before > 1))
    return found[np.argsort(-before[found], kind="stable")]


def _example(stages: Staged, query: Modality, before: Stage, after: Stage, number: int) -> Example:
    part = slice(number, number + 1)
    items = np.arange(stages.data.coarse.items(query))[None]
    return Example(
        number,
        (int(before.of(query)[number]), int(after.of(query)[number])),
        np.flatnonzero(stages.data.right(query, part, items)).tolist(),
        (stages.top(before, query, number, HITS), stages.top(after, query, number, HITS)),
    )
