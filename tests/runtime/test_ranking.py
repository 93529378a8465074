from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from itr_deploy.runtime.ranking import ROUNDING, best

SCORES = st.lists(st.integers(-3, 3), min_size=0, max_size=30)


@given(scores=SCORES, k=st.integers(1, 35), data=st.data())
def test_the_best_are_those_of_a_full_sort_with_ties_by_order(
    scores: list[int], k: int, data: st.DataObject
) -> None:
    order = data.draw(st.permutations(range(len(scores))))
    naive = sorted(range(len(scores)), key=lambda place: (-scores[place], order[place]))[:k]
    found, _ = best(np.array(scores, np.float32), k, np.array(order, np.int64))
    assert found.tolist() == naive


@given(scores=SCORES.filter(bool), k=st.integers(1, 35))
def test_ties_are_ordered_by_id_as_strings(scores: list[int], k: int) -> None:
    ids = [f"item{number}" for number in range(len(scores))]
    naive = sorted(range(len(scores)), key=lambda place: (-scores[place], ids[place]))[:k]
    found, _ = best(np.array(scores, np.float32), k, np.array(ids))
    assert found.tolist() == naive


@pytest.mark.parametrize("k", [1, 3, 10])
def test_of_nothing_the_best_is_nothing(k: int) -> None:
    places, settled = best(np.empty(0, np.float32), k, np.empty(0, np.int64))
    assert not len(places)
    assert not len(settled)


@given(scores=SCORES, k=st.integers(1, 35), data=st.data())
def test_noise_in_the_scores_does_not_change_the_order_of_equal_ones(
    scores: list[int], k: int, data: st.DataObject
) -> None:
    count = len(scores)
    order = np.array(data.draw(st.permutations(range(count))), np.int64)
    part = st.floats(0, 0.4)
    noise = np.array([data.draw(part) for _ in range(count)]) * ROUNDING
    exact = np.array(scores, np.float32)
    places, settled = best((exact + noise).astype(np.float32), k, order)
    naive = sorted(range(count), key=lambda place: (-scores[place], order[place]))[:k]
    assert places.tolist() == naive
    np.testing.assert_allclose(settled, exact[places], atol=2 * ROUNDING)
    assert (np.diff(settled) <= 0).all()
    for score in set(scores):
        assert len(set(settled[exact[places] == score].tolist())) <= 1


def test_scores_further_apart_than_rounding_keep_their_order() -> None:
    scores = np.array([1.0, 1.00001, 1.00002], np.float32)
    places, settled = best(scores, 3, np.arange(3))
    assert places.tolist() == [2, 1, 0]
    np.testing.assert_array_equal(settled, scores[::-1])


def test_a_long_run_of_near_scores_is_not_one_tie() -> None:
    scores = np.linspace(0, 1e-3, 1000).astype(np.float32)
    places, settled = best(scores, 1000, np.arange(1000))
    assert len(set(settled.tolist())) > 300
    assert abs(settled - scores[places]).max() <= 2 * ROUNDING
