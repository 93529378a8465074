from __future__ import annotations

from collections import Counter
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from itr_deploy.runtime.tiles import LEAST_PAIRS, Cost, Limits, Tile, tiles

SIZES = st.none() | st.integers(1, 20)
COSTS = st.builds(Cost, pair=st.integers(0, 50), item=st.integers(0, 50))
LIMITS = st.builds(
    Limits,
    budget=st.integers(0, 2000),
    workers=st.integers(1, 4),
    pairs=st.none() | st.integers(1, 100),
    queries=SIZES,
    candidates=SIZES,
)
CASES = given(
    queries=st.integers(0, 30),
    candidates=st.integers(0, 60),
    cost=COSTS,
    limits=LIMITS,
    shared=st.booleans(),
)


def size(tile: Tile) -> tuple[int, int]:
    queries, candidates = (part.stop - part.start for part in tile)
    return queries, candidates


def needed(tile: Tile, cost: Cost, shared: bool) -> int:
    queries, candidates = size(tile)
    gathered = candidates if shared else queries * candidates
    return queries * candidates * cost.pair + gathered * cost.item


@CASES
def test_every_pair_is_in_exactly_one_tile(
    queries: int, candidates: int, cost: Cost, limits: Limits, shared: bool
) -> None:
    seen = Counter(
        pair
        for q, k in tiles(queries, candidates, cost, limits, shared)
        for pair in product(range(q.start, q.stop), range(k.start, k.stop))
    )
    assert seen == Counter(product(range(queries), range(candidates)))


@CASES
def test_a_tile_of_more_than_a_pair_is_within_the_budget(
    queries: int, candidates: int, cost: Cost, limits: Limits, shared: bool
) -> None:
    for tile in tiles(queries, candidates, cost, limits, shared):
        assert needed(tile, cost, shared) <= limits.budget or size(tile) == (1, 1)


@CASES
def test_a_tile_has_no_more_pairs_queries_or_candidates_than_a_call_takes(
    queries: int, candidates: int, cost: Cost, limits: Limits, shared: bool
) -> None:
    for tile in tiles(queries, candidates, cost, limits, shared):
        height, width = size(tile)
        assert height * width <= (limits.pairs or height * width)
        assert height <= (limits.queries or height)
        assert width <= (limits.candidates or width)


@given(
    queries=st.integers(1, 30),
    candidates=st.integers(1, 60),
    workers=st.integers(2, 8),
    shared=st.booleans(),
)
def test_every_worker_gets_a_tile_where_there_are_pairs_enough(
    queries: int, candidates: int, workers: int, shared: bool
) -> None:
    found = tiles(queries, candidates, Cost(1, 1), Limits(1 << 30, workers), shared)
    pairs = queries * candidates
    assert len(found) >= min(workers, pairs // LEAST_PAIRS)


@pytest.mark.parametrize(("candidates", "sizes"), [(50, [13, 13, 13, 11]), (18, [9, 9]), (8, [8])])
def test_one_querys_candidates_are_shared_out_evenly(candidates: int, sizes: list[int]) -> None:
    found = tiles(1, candidates, Cost(pair=50, item=50), Limits(1700, workers=2), shared=False)
    assert [k.stop - k.start for _, k in found] == sizes


@pytest.mark.parametrize("shared", [True, False])
def test_pairs_that_fit_are_one_tile(shared: bool) -> None:
    found = tiles(7, 9, Cost(pair=10, item=1), Limits(budget=7 * 9 * 11), shared)
    assert found == [(slice(0, 7), slice(0, 9))]


def test_items_that_queries_share_are_gathered_once_so_that_a_tile_has_more_pairs() -> None:
    cost, limits = Cost(pair=1, item=100), Limits(budget=1000)
    together = tiles(8, 64, cost, limits, shared=True)
    alone = tiles(8, 64, cost, limits, shared=False)
    assert len(together) < len(alone)
