"""For any parameters, all pairs of values occur, in far fewer cases than all combinations."""

from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.pairwise import pairs, pairwise

PARAMETERS = st.lists(
    st.integers(1, 4).map(lambda count: list(range(count))), min_size=2, max_size=4
)


@settings(deadline=None)
@given(PARAMETERS)
def test_every_two_values_meet(parameters: list[list[int]]) -> None:
    cases = pairwise(*parameters)
    everything = {pair for case in itertools.product(*parameters) for pair in pairs(case)}
    assert {pair for case in cases for pair in pairs(case)} == everything
    assert len(set(cases)) == len(cases)


def test_three_hundred_cases_become_about_thirty() -> None:
    cases = pairwise(range(2), range(5), range(6), range(5))
    assert 30 <= len(cases) <= 36
    assert cases == pairwise(range(2), range(5), range(6), range(5))
