"""The cheapest widths of a search that keep a share of the exhaustive top 10."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from itr_deploy.bundle.manifest import TOP
from itr_deploy.bundle.modality import Modality
from itr_deploy.evaluation.measures.shortlist import (
    Order,
    Shortlists,
    coarse_order,
    narrowed_order,
    prefiltered_order,
    shortlists,
)
from itr_deploy.evaluation.scores.split_encoder import SplitItems
from itr_deploy.evaluation.scores.split_scores import Scores, SplitScores
from itr_deploy.runtime.scorer import Scorer

GROWTH = 1.5
"""Ratio between one wide shortlist that is tried and the next."""

SAMPLE, ROUNDS = 200, 5
"""Number of items and of calls with which a pair's cost is measured."""


@dataclass(frozen=True)
class PairCost:
    """What scoring a pair costs, all in the same unit; ``refiner`` is None without one."""

    prefilter: float
    matcher: float
    refiner: float | None = None


@dataclass(frozen=True)
class Widths:
    """How wide the shortlists are, and what they keep.

    Attributes:
        prefilter: Items that the prefilter reads, None for no prefilter.
        candidates: Items that the matcher scores.
        share: Share of the exhaustive top 10 among them.
        refine: Items that the refiner reads, None for no refiner.
    """

    prefilter: int | None
    candidates: int
    share: float
    refine: int | None = None

    def cost(self, pair: PairCost) -> float:
        """The cost of a query."""
        refined = (self.refine or 0) * (pair.refiner or 0)
        return (self.prefilter or 0) * pair.prefilter + refined + self.candidates * pair.matcher

    def grown(self, growth: float) -> Widths:
        """The widths for a gallery ``growth`` times as large; places grow in proportion."""
        wide, middle = (
            None if width is None else _rounded_up(growth * width)
            for width in (self.prefilter, self.refine)
        )
        narrow = _rounded_up(growth * self.candidates)
        return replace(self, prefilter=wide, refine=middle, candidates=narrow)


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

    refiner = None if matcher.refiner is None else seconds(matcher.refiner)
    return PairCost(seconds(matcher.prefilter), seconds(matcher.scorer), refiner)


def cheapest(
    by_coarse: Shortlists,
    data: SplitScores,
    query: Modality,
    prefilter: Scores,
    target: float,
    pair: PairCost,
    refine: Scores | None = None,
) -> Widths:
    """The widths that keep a share of the exhaustive top 10 at the lowest cost per query.

    Args:
        by_coarse: This direction's shortlists without a prefilter.
        data: The split; every pair has a score.
        query: Modality of the queries.
        prefilter: The prefilter's scores.
        target: Share to keep.
        pair: What a pair costs with each of them.
        refine: The refiner's scores, None without one.
    """
    least = by_coarse.smallest_width(target)
    best = Widths(None, least, by_coarse.share(least))
    best = _refined(best, least, by_coarse.items, None, data, query, refine, target, pair)
    for width in _series(least, by_coarse.items):
        order = prefiltered_order(data.coarse, prefilter, query, width)
        found = shortlists(data, query, [], exhaustive=True, order=order)
        narrow = found.smallest_width(target)
        tried = Widths(width, narrow, found.share(narrow))
        if narrow < width and tried.cost(pair) < best.cost(pair):
            best = tried
        best = _refined(best, narrow, width, order, data, query, refine, target, pair)
    return best


def _refined(
    best: Widths,
    least: int,
    most: int,
    order: Order | None,
    data: SplitScores,
    query: Modality,
    refine: Scores | None,
    target: float,
    pair: PairCost,
) -> Widths:
    """The best so far, or one with a refiner that reads the first of an order.

    Args:
        best: The best so far.
        least: Items of the order that keep the target.
        most: Items of it that the refiner may read: as many as were put in this order.
        order: The prefilter's order, None for the coarse one.
        data: The split.
        query: Modality of the queries.
        refine: The refiner's scores, None without one.
        target: Share to keep.
        pair: What a pair costs.
    """
    if refine is None:
        return best
    before = order or partial(coarse_order, data.coarse, query)
    for middle in _series(least, most):
        tried = Widths(None if order is None else most, TOP, 0.0, middle)
        if middle >= most and order is not None:
            break  # nothing would be left for the prefilter to do
        if tried.cost(pair) >= best.cost(pair):
            break  # however few the matcher scored
        found = shortlists(
            data, query, [], exhaustive=True, order=narrowed_order(before, refine, query, middle)
        )
        narrow = found.smallest_width(target)
        tried = replace(tried, candidates=narrow, share=found.share(narrow))
        if narrow < middle and tried.cost(pair) < best.cost(pair):
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
