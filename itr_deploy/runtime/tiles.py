"""Tiles: pairs of queries and candidates that one call scores, in bounded memory."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

LEAST_PAIRS = 8
"""A call with fewer pairs costs as much: dividing it among workers gains nothing."""

Tile = tuple[slice, slice]
"""Slices of queries and of candidates."""


@dataclass(frozen=True)
class Cost:
    """Scratch memory of a call.

    Attributes:
        pair: Bytes per pair.
        item: Bytes per gathered item: counted once for all queries of a tile if they share their
            candidates, else once per pair.
    """

    pair: int
    item: int


@dataclass(frozen=True)
class Limits:
    """Limits of a call; None means no limit.

    Attributes:
        budget: Bytes of scratch memory; a tile of one pair may take more.
        workers: Calls that run at a time; each gets a tile if there are enough pairs.
        pairs: Most pairs.
        queries: Most queries.
        candidates: Most candidates per query.
    """

    budget: int
    workers: int = 1
    pairs: int | None = None
    queries: int | None = None
    candidates: int | None = None


def tiles(queries: int, candidates: int, cost: Cost, limits: Limits, shared: bool) -> list[Tile]:
    """Divide pairs into tiles; every pair is in exactly one.

    Args:
        queries: Number of queries.
        candidates: Number of candidates per query.
        cost: Memory per pair and per item.
        limits: Limits of a tile.
        shared: Whether the queries have the same candidates, then gathered once per tile.
    """
    if not queries or not candidates:
        return []
    share = -(-queries * candidates // limits.workers)
    most = max(LEAST_PAIRS, share)
    if limits.pairs is not None:
        most = min(limits.pairs, most)
    per_call = min(most, max(1, limits.budget // max(1, cost.pair + cost.item)))
    k_step = min(candidates, per_call)
    if shared:
        # More queries cost only their pairs. Of all tiles with this many pairs, a roughly square
        # one gathers least.
        k_step = min(k_step, most // max(1, min(queries, math.isqrt(most))))
        left = limits.budget - k_step * cost.item
        q_step = max(1, min(left // max(1, k_step * cost.pair), most // k_step))
    else:
        if queries == 1:
            k_step = _even(candidates, k_step, limits.workers)
        q_step = max(1, per_call // k_step)
    q_step = min(q_step, limits.queries or q_step)
    k_step = min(k_step, limits.candidates or k_step)
    return [(q, k) for q in _slices(queries, q_step) for k in _slices(candidates, k_step)]


def _even(count: int, step: int, workers: int) -> int:
    """A step no larger than this one, with which every worker has as many slices as the others."""
    slices = -(-count // step)
    rounds = -(-slices // workers)
    return max(min(LEAST_PAIRS, step), -(-count // (rounds * workers)))


def _slices(count: int, step: int) -> Iterator[slice]:
    for start in range(0, count, step):
        yield slice(start, min(start + step, count))
