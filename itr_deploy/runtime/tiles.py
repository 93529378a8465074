"""Tiles: pairs of queries and candidates that one call scores, in bounded memory."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

LEAST_PAIRS = 8
"""A call with fewer costs as much: nothing is gained by dividing it among workers."""

Tile = tuple[slice, slice]
"""Places of queries, and of candidates."""


@dataclass(frozen=True)
class Cost:
    """Scratch memory of a call.

    Attributes:
        pair: Bytes of a pair.
        item: Bytes of a gathered item: once for all queries of a tile that share their candidates,
            else once a pair.
    """

    pair: int
    item: int


@dataclass(frozen=True)
class Limits:
    """What a call may hold.

    Attributes:
        budget: Bytes of scratch memory; a tile of one pair may take more.
        workers: Calls that run at a time; all of them get a tile where there are pairs enough.
        pairs: Pairs at most, None for any number.
        queries: Queries at most.
        candidates: Candidates of a query at most.
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
        candidates: Number of candidates of each.
        cost: Memory of a pair and of an item.
        limits: What a tile may hold.
        shared: Whether the queries have the same candidates, which are gathered once a tile then.
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
        # More queries cost only their pairs. Of tiles with so many pairs one about as high as it is
        # wide gathers least.
        k_step = min(k_step, most // max(1, min(queries, math.isqrt(most))))
        left = limits.budget - k_step * cost.item
        q_step = max(1, min(left // max(1, k_step * cost.pair), most // k_step))
    else:
        q_step = max(1, per_call // k_step)
    q_step = min(q_step, limits.queries or q_step)
    k_step = min(k_step, limits.candidates or k_step)
    return [(q, k) for q in _slices(queries, q_step) for k in _slices(candidates, k_step)]


def _slices(count: int, step: int) -> Iterator[slice]:
    for start in range(0, count, step):
        yield slice(start, min(start + step, count))
