from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from itr_deploy.parity import ParityReport
from itr_deploy.parity.report import compare, compare_ranks, missed


def pair(got: list, reference: list) -> tuple[str, np.ndarray, np.ndarray]:
    return "sample", np.array(got, np.float32), np.array(reference, np.float64)


def test_equal_arrays_need_no_tolerance() -> None:
    result = compare("x", [pair([1, 2], [1, 2])], 1e-12)
    assert (result.max_absolute, result.max_relative, result.needed) == (0, 0, 0)
    assert result.passed


def test_errors_are_measured_absolutely_relatively_and_together() -> None:
    result = compare("x", [pair([1.5, 3.0], [1.0, 4.0])], 0.3)
    assert result.max_absolute == 1.0
    assert result.max_relative == 0.5
    assert result.needed == 0.25
    assert result.passed
    assert not compare("x", [pair([1.5, 3.0], [1.0, 4.0])], 0.2).passed


def test_relative_error_leaves_references_near_zero_out() -> None:
    result = compare("x", [pair([0.5, 1.0], [1e-4, 1.0])], 1.0)
    assert result.max_relative == 0
    assert result.max_absolute == pytest.approx(0.4999)


def test_the_worst_of_all_samples_counts() -> None:
    result = compare("x", [pair([1], [1]), pair([2], [1]), pair([1], [1])], 0.1)
    assert result.max_absolute == 1
    assert len(result.samples) == 3
    assert not result.passed


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, 1])
def test_a_value_that_is_no_number_never_passes(value: float, place: int) -> None:
    got = [1.0, 1.0]
    got[place] = value
    result = compare("x", [pair([1, 1], [1, 1]), pair(got, [1, 1]), pair([1, 1], [1, 1])], 1e9)
    assert not result.finite
    assert not result.passed


def test_a_reference_that_is_no_number_never_passes() -> None:
    assert not compare("x", [pair([1.0], [np.nan])], 1e9).passed


def test_empty_arrays_compare_as_equal() -> None:
    assert compare("x", [("none", np.empty((0, 3), np.float32), np.empty((0, 3)))], 1e-9).passed


def ranks(got: list, reference: list, tolerance: float = 0.0):
    return compare_ranks("x", np.array(got, float), np.array(reference, float), tolerance)


def test_equal_rankings_have_no_swap() -> None:
    result = ranks([[3, 2, 1], [0.1, 0.3, 0.2]], [[30, 20, 10], [1, 3, 2]])
    assert (result.largest_swap, result.same_order, result.top_overlap) == (0, 1, 1)
    assert (result.queries, result.items) == (2, 3)
    assert result.passed


def test_a_swap_is_as_large_as_the_references_gap() -> None:
    result = ranks([[3, 1, 2]], [[3, 2, 1.75]], 0.25)
    assert result.largest_swap == 0.25
    assert result.same_order == 0
    assert result.passed
    assert not ranks([[3, 1, 2]], [[3, 2, 1.75]], 0.2).passed


def test_the_largest_swap_may_be_between_items_that_are_not_neighbours() -> None:
    assert ranks([[1, 2, 3]], [[9, 5, 4]]).largest_swap == 5


def test_the_overlap_is_of_the_first_ten() -> None:
    reference = np.arange(20.0, 0, -1)[None]
    got = reference.copy()
    got[0, [9, 10]] = got[0, [10, 9]]
    assert compare_ranks("x", got, reference, 1).top_overlap == 0.9


@pytest.mark.parametrize("row", [[np.nan, 1, 2], [1, np.nan, 2], [np.nan] * 3])
def test_scores_that_are_no_numbers_never_pass_as_a_ranking(row: list) -> None:
    assert not ranks([row], [[3, 2, 1]], 0.5).passed


@given(
    reference=st.lists(st.integers(-50, 50), min_size=1, max_size=12),
    errors=st.lists(st.integers(-3, 3), min_size=12, max_size=12),
)
def test_no_swap_is_larger_than_twice_the_error_of_the_scores(
    reference: list[int], errors: list[int]
) -> None:
    got = np.array([reference]) + np.array([errors[: len(reference)]])
    naive = max(
        (b - a for i, a in enumerate(reference) for j, b in enumerate(reference)
         if (-got[0, i], i) < (-got[0, j], j)),
        default=0,
    )  # fmt: skip
    swap = ranks(got.tolist(), [reference]).largest_swap
    assert swap == max(0, naive)
    assert swap <= 6


def test_a_report_passes_if_every_entry_does_and_says_so_in_json() -> None:
    good, bad = compare("good", [pair([1], [1])], 1e-4), compare("bad", [pair([2], [1])], 1e-4)
    order = ranks([[1, 2]], [[1, 2]])
    passed = ParityReport("cpu", (good,), (good,), (order,))
    assert passed.passed
    assert json.loads(json.dumps(passed.to_json()))["passed"] is True
    for report in (
        ParityReport("cpu", (bad,), (good,), (order,)),
        ParityReport("cpu", (good,), (bad,), (order,)),
        ParityReport("cpu", (good,), (good,), (ranks([[1, 2]], [[2, 1]]),)),
    ):
        assert not report.passed
        assert report.to_json()["passed"] is False


def test_the_message_of_a_failed_gate_names_the_first_miss_and_its_figures() -> None:
    good, bad = compare("good", [pair([1], [1])], 1e-4), compare("bad", [pair([2], [1])], 1e-4)
    message = missed(ParityReport("cpu", (good, bad), (bad,), ()), "no bundle")
    assert "2 of 3" in message
    assert "bad: 5.0e-01 where 1e-04 is allowed; no bundle" in message
    broken = compare("broken", [pair([np.nan], [1])], 1e-4)
    message = missed(ParityReport("cpu", (broken,), (), ()), "no bundle")
    assert "broken: values that are NaN or infinite; no bundle" in message
    swapped = ranks([[1, 2]], [[2, 1]], 0.5)
    assert "x: 1.0e+00 where 5e-01" in missed(ParityReport("cpu", (good,), (), (swapped,)), "")
    lost = compare_ranks("x", np.arange(20.0)[None], np.arange(20.0)[None, ::-1], 100.0, 5)
    message = missed(ParityReport("cpu", (good,), (), (lost,)), "")
    assert "x: the best item among the first 5 in 0.0% of the rankings" in message
    others = np.array([[30.0, *range(10), *range(10, 20)]])
    elsewhere = np.array([[30.0, *range(20, 10, -1), *range(10)]])
    message = missed(
        ParityReport("cpu", (), (), (compare_ranks("x", others, elsewhere, 100.0, 5),)), ""
    )
    assert "x: 10.0% of the top 10 where 90% must be kept" in message
