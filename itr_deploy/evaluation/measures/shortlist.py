"""What shortlists lose: ranks with one of any width, and its share of the exhaustive top 10.

A shortlist holds the coarse embedding's best items, or the prefilter's best of a wider selection.
The matcher ranks these; the items after them keep their order, so every right answer has a rank.
Equal coarse scores are ordered as in the split; a search orders them by id.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from itr_deploy.bundle.manifest import TOP
from itr_deploy.bundle.modality import Modality
from itr_deploy.evaluation.scores.coarse import BLOCK_CELLS, Coarse, query_blocks
from itr_deploy.evaluation.scores.split_scores import Scores, SplitScores, query_scores

Order = Callable[[slice], NDArray[np.int64]]
"""Returns all items for some queries, ``int64 [queries, items]``, best first."""


@dataclass(frozen=True, eq=False)
class Shortlists:
    """The Q queries of one modality with shortlists of several widths.

    Attributes:
        items: Number of items in the gallery.
        coarse: ``int64 [Q]``, ranks from 1 of the right answers by the coarse order alone; 0 for a
            query without any, as in `Ranks`.
        ranks: For every width ``int64 [Q]``, their ranks with a shortlist of that width.
        places: ``int64 [Q, min(TOP, items)]``, places from 0 of the exhaustively best items in the
            coarse order; None if not every pair was scored.
    """

    items: int
    coarse: NDArray[np.int64]
    ranks: dict[int, NDArray[np.int64]]
    places: NDArray[np.int64] | None

    def share(self, width: int) -> float:
        """Share of the exhaustive top 10 that a shortlist of this width holds."""
        assert self.places is not None
        return float((self.places < width).mean())

    def smallest_width(self, target: float) -> int:
        """The smallest width that holds this share of the exhaustive top 10."""
        assert self.places is not None
        places = np.sort(self.places, axis=None)
        needed = int(np.ceil(target * places.size - 1e-9))
        return int(places[max(needed, 1) - 1]) + 1


def default_widths(items: int) -> list[int]:
    """10, 20, 50, 100, ... below the number of items."""
    series = {step * 10**power for power in range(1, 9) for step in (1, 2, 5)}
    return sorted(width for width in series if width < items)


def shortlists(
    data: SplitScores,
    query: Modality,
    widths: Sequence[int],
    *,
    exhaustive: bool,
    order: Order | None = None,
    block_cells: int = BLOCK_CELLS,
) -> Shortlists:
    """Ranks of the right answers with shortlists.

    Args:
        data: The split; unless ``exhaustive``, only pairs of the widest shortlist matter.
        query: Modality of the queries.
        widths: The shortlists' widths.
        exhaustive: Whether every pair has a score.
        order: The order whose first items are the shortlists, by default the coarse order.
        block_cells: Number of pairs to process together.
    """
    queries, items = data.coarse.queries(query), data.coarse.items(query)
    first = np.empty(queries, np.int64)
    ranks = {width: np.empty(queries, np.int64) for width in widths}
    places = np.empty((queries, min(TOP, items)), np.int64) if exhaustive else None
    order = order or partial(coarse_order, data.coarse, query)
    for part in query_blocks(queries, items, block_cells):
        found = order(part)
        own = data.right(query, part, found)
        first[part] = np.where(own.any(axis=1), own.argmax(axis=1), -1)
        ordered = np.take_along_axis(data.of(query, part), found, axis=1)
        for width in widths:
            ranks[width][part] = _ranks(ordered[:, :width], own[:, :width], first[part])
        if places is not None:
            count = places.shape[1]
            places[part] = np.argsort(-ordered, axis=1, kind="stable")[:, :count]
    return Shortlists(items, first + 1, ranks, places)


def coarse_order(coarse: Coarse, query: Modality, part: slice) -> NDArray[np.int64]:
    """Items ``int64 [queries, items]``, best first by the coarse embedding."""
    return np.argsort(-coarse.rows(query, part), axis=1, kind="stable")


def prefiltered_order(coarse: Coarse, prefilter: Scores, query: Modality, width: int) -> Order:
    """The coarse order with its first ``width`` items sorted by their prefilter scores.

    Args:
        coarse: The split's embeddings.
        prefilter: Scores ``float32 [N, C]`` of every pair.
        query: Modality of the queries.
        width: Width of the shortlist that the prefilter reads.
    """
    return narrowed_order(partial(coarse_order, coarse, query), prefilter, query, width)


def narrowed_order(before: Order, by: Scores, query: Modality, width: int) -> Order:
    """An order with its first ``width`` items sorted by other scores, ``float32 [N, C]``."""

    def order(part: slice) -> NDArray[np.int64]:
        found = before(part)
        wide = found[:, :width]
        scores = np.take_along_axis(query_scores(by, query, part), wide, axis=1)
        places = np.argsort(-scores, axis=1, kind="stable")
        found[:, :width] = np.take_along_axis(wide, places, axis=1)
        return found

    return order


def _ranks(
    scores: NDArray[np.float32], own: NDArray[np.bool_], first: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Ranks ``int64 [n]`` from a shortlist's scores and right answers, both ``[n, width]``."""
    best = np.where(own, scores, -np.inf).max(axis=1, keepdims=True)
    above = np.count_nonzero(~(scores < best) & ~own, axis=1)
    return np.where(own.any(axis=1), above, first) + 1
