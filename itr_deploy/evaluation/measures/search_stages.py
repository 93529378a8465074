"""The stages of a search in an evaluation: what each one ranks, and how well."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from itr_deploy.bundle.modality import MODALITIES, Modality
from itr_deploy.evaluation.measures.merge import TwoWayMerge
from itr_deploy.evaluation.measures.prefilter import Cascade
from itr_deploy.evaluation.measures.recall import Ranks
from itr_deploy.evaluation.measures.reranking import one_way_ranks, one_way_scores
from itr_deploy.evaluation.measures.shortlist import (
    Order,
    Shortlists,
    coarse_order,
    default_widths,
    shortlists,
)
from itr_deploy.evaluation.scores.split_scores import Scores, SplitScores, query_scores
from itr_deploy.runtime.projection import PLAIN

DEPTHS = (*range(1, 11), *range(12, 21, 2), *range(25, 51, 5), *range(60, 101, 10))
"""The values of K in recall curves."""


@dataclass(frozen=True, eq=False)
class Stage:
    """One way to rank: the coarse embedding alone, or the matcher on a shortlist.

    Attributes:
        name: Its human-readable name.
        widths: Width of the shortlist, by the query's modality: 0 if the matcher is not used, None
            for every item.
        ranks: Ranks of the right answers.
        scores: Returns ``float32 [queries, items]`` by which some queries of a modality are ranked,
            None for the matcher's own.
        orders: The order whose first items are the shortlist, by the query's modality, if that is
            not the coarse order.
    """

    name: str
    widths: Mapping[Modality, int | None]
    ranks: Ranks
    scores: Callable[[Modality, slice], NDArray[np.float32]] | None = None
    orders: Mapping[Modality, Order] = field(default_factory=dict)

    def of(self, query: Modality) -> NDArray[np.int64]:
        """Ranks of one direction."""
        return self.ranks.image_to_text if query == "image" else self.ranks.text_to_image


@dataclass(frozen=True)
class Staged:
    """Scores of a split, and the stages that rank it.

    Attributes:
        data: The scores.
        by_query: Shortlists by the coarse embedding, by the query's modality; empty for a dual
            encoder.
        plain: The same without the projection, for directions that have one, if every pair was
            scored.
        behind: The shortlists of a search: by the prefilter and the refiner in directions that have
            them.
        stages: The stages, cheapest first.
    """

    data: SplitScores
    by_query: dict[Modality, Shortlists]
    plain: dict[Modality, Shortlists]
    behind: dict[Modality, Shortlists]
    stages: tuple[Stage, ...]

    def top(self, stage: Stage, query: Modality, number: int, count: int) -> list[int]:
        """The best items of one query at a stage, by number."""
        part = slice(number, number + 1)
        ordered = stage.orders.get(query) or partial(coarse_order, self.data.coarse, query)
        order = ordered(part)[0]
        width = stage.widths[query]
        if width == 0:
            return [int(item) for item in order[:count]]
        order = order[:width]
        scores = stage.scores or self.data.of
        found = scores(query, part)[0][order]
        return [int(item) for item in order[np.argsort(-found, kind="stable")[:count]]]


def staged(
    data: SplitScores,
    *,
    exhaustive: Ranks | None,
    widths: Mapping[Modality, int | None],
    cascade: Cascade | None = None,
) -> Staged:
    """Rank a split at every stage.

    Args:
        data: The split's scores.
        exhaustive: Ranks by every pair's score, None where not every pair has one.
        widths: Width of the shortlist that is a stage of its own, by the query's modality; None
            takes every item.
        cascade: What is before that stage, None for nothing.
    """
    every, coarse = exhaustive is not None, data.coarse
    own = {query: _at_most(widths[query], coarse.items(query)) for query in MODALITIES}
    by_query = {
        query: shortlists(
            data, query, _reported(coarse.items(query), own[query], every), exhaustive=every
        )
        for query in MODALITIES
    }
    plain = {
        query: shortlists(data.by(coarse.projected(PLAIN)), query, [], exhaustive=True)
        for query in (coarse.projection.forms if every else ())
    }
    orders = {} if cascade is None else cascade.orders(coarse)
    behind = by_query | {
        query: shortlists(data, query, [own[query]], exhaustive=every, order=order)
        for query, order in orders.items()
    }
    image, text = by_query["image"], by_query["text"]
    stages = [
        Stage("coarse embedding", dict.fromkeys(MODALITIES, 0), Ranks(image.coarse, text.coarse))
    ]
    if exhaustive is None or any(own[query] < coarse.items(query) for query in MODALITIES):
        ranks = Ranks(behind["image"].ranks[own["image"]], behind["text"].ranks[own["text"]])
        stages.append(Stage(_shortlist_name(widths, cascade), {**own}, ranks, orders=orders))
    if exhaustive is not None:
        stages.append(Stage("matcher, every item", dict.fromkeys(MODALITIES), exhaustive))
    return Staged(data, by_query, plain, behind, tuple(stages))


def one_product(data: SplitScores, exhaustive: Ranks) -> Staged:
    """The only stage of a dual encoder, whose score is the coarse product."""
    stage = Stage("product, every item", dict.fromkeys(MODALITIES), exhaustive)
    return Staged(data, {}, {}, {}, (stage,))


def with_reranking(stages: Staged, merge: TwoWayMerge, merged: Ranks, before: Ranks) -> Staged:
    """Add the stages of a re-ranker: one direction as in a search, and both directions merged.

    Args:
        stages: The stages up to the matcher scoring every pair.
        merge: The merged scores of the re-ranker.
        merged: Ranks by the merged scores.
        before: Ranks by the matcher alone.
    """
    every: dict[Modality, int | None] = dict.fromkeys(MODALITIES)
    one_way = Stage(
        "re-ranked, one direction as in a search",
        every,
        one_way_ranks(before, merge, stages.data.answers),
        partial(one_way_scores, merge),
    )
    merged_scores = partial(query_scores, merge)
    both = Stage("re-ranked, both directions merged", every, merged, merged_scores)
    return replace(stages, stages=(*stages.stages, one_way, both))


def with_mean(stages: Staged, mean: Scores, ranks: Ranks) -> Staged:
    """Add the stage that ranks by the mean of several models' scores.

    Args:
        stages: The stages of the bundle's own search.
        mean: The mean.
        ranks: Ranks by it.
    """
    every: dict[Modality, int | None] = dict.fromkeys(MODALITIES)
    stage = Stage("mean with saved scores", every, ranks, partial(query_scores, mean))
    return replace(stages, stages=(*stages.stages, stage))


def _at_most(width: int | None, items: int) -> int:
    return items if width is None else min(width, items)


def _reported(items: int, own: int, every: bool) -> list[int]:
    """Widths to report; unless every pair has a score, none is wider than the shortlist."""
    most = items if every else own
    return sorted({width for width in (*default_widths(items), own) if width <= most})


def _shortlist_name(widths: Mapping[Modality, int | None], cascade: Cascade | None) -> str:
    name = f"matcher, shortlist of {_both(widths, 'all')}"
    if cascade is None:
        return name
    if any(cascade.refine_widths.values()):
        name = f"{name} by a refiner of {_both(cascade.refine_widths, 'no')}"
        if not any(cascade.widths.values()):
            return name
    return f"{name} by a prefilter of {_both(cascade.widths, 'no')}"


def _both(widths: Mapping[Modality, int | None], without: str) -> str:
    images, captions = (widths[query] or without for query in reversed(MODALITIES))
    return f"{images}" if images == captions else f"{images} images or {captions} captions"
