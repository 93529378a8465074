"""The cheapest widths of a search that keep a share of the exhaustive top 10."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from itr_deploy.bundle.modality import Modality
from itr_deploy.evaluation.measures.shortlist import Shortlists, prefiltered_order, shortlists
from itr_deploy.evaluation.scores.split_encoder import SplitItems
from itr_deploy.evaluation.scores.split_scores import Scores, SplitScores
from itr_deploy.runtime.scorer import Scorer

GROWTH = 1.5
"""Ratio between one wide shortlist that is tried and the next."""

SAMPLE, ROUNDS = 200, 5
"""Number of items and of calls with which a pair's cost is measured."""


@dataclass(frozen=True)
class PairCost:
    """What scoring a pair costs, both in the same unit."""

    prefilter: float
    matcher: float


@dataclass(frozen=True)
class Widths:
    """How wide the two shortlists are, and what they keep.

    Attributes:
        prefilter: Items that the prefilter reads, None for no prefilter.
        candidates: Items that the matcher scores.
        share: Share of the exhaustive top 10 among them.
    """

    prefilter: int | None
    candidates: int
    share: float

    def cost(self, pair: PairCost) -> float:
        """The cost of a query."""
        return (self.prefilter or 0) * pair.prefilter + self.candidates * pair.matcher

    def grown(self, growth: float) -> Widths:
        """The widths for a gallery ``growth`` times as large; places grow in proportion."""
        wide = None if self.prefilter is None else _rounded_up(growth * self.prefilter)
        return replace(self, prefilter=wide, candidates=_rounded_up(growth * self.candidates))


def measured_cost(items: SplitItems, query: Modality) -> PairCost:
    """Seconds per pair for one query of a split with a shortlist from a float16 gallery.

    Raises:
        InputError: Regions are not finite.
    """
    matcher = items.matcher
    assert matcher.prefilter is not None
    images = items.encode_images(slice(0, min(SAMPLE, items.images.count)))
    captions = items.encode_captions(slice(0, min(SAMPLE, items.captions.count)))
    queries, gallery = (captions, images) if query == "text" else (images, captions)
    one, stored = queries.take(slice(0, 1)), gallery.stored_as("float16")
    candidates = np.arange(len(gallery))[None]

    def seconds(scorer: Scorer) -> float:
        taken = []
        for _ in range(1 + ROUNDS):  # the first also loads the graph
            start = time.perf_counter()
            scorer.score_candidates(one, stored, candidates)
            taken.append(time.perf_counter() - start)
        return statistics.median(taken[1:]) / len(gallery)

    return PairCost(seconds(matcher.prefilter), seconds(matcher.scorer))


def cheapest(
    by_coarse: Shortlists,
    data: SplitScores,
    query: Modality,
    prefilter: Scores,
    target: float,
    pair: PairCost,
) -> Widths:
    """The widths that keep a share of the exhaustive top 10 at the lowest cost per query.

    Args:
        by_coarse: This direction's shortlists without a prefilter.
        data: The split; every pair has a score.
        query: Modality of the queries.
        prefilter: The prefilter's scores.
        target: Share to keep.
        pair: What a pair costs with each of the two.
    """
    least = by_coarse.smallest_width(target)
    best = Widths(None, least, by_coarse.share(least))
    for width in _series(least, by_coarse.items):
        order = prefiltered_order(data.coarse, prefilter, query, width)
        found = shortlists(data, query, [], exhaustive=True, order=order)
        narrow = found.smallest_width(target)
        tried = Widths(width, narrow, found.share(narrow))
        if narrow < width and tried.cost(pair) < best.cost(pair):
            best = tried
    return best


def _rounded_up(value: float) -> int:
    return math.ceil(value - 1e-9)


def _series(least: int, most: int) -> Iterator[int]:
    """Growing widths; the last is ``most``."""
    width = float(least)
    while width < most:
        yield int(width)
        width = max(width * GROWTH, width + 1)
    yield most
