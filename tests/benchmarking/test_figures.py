from __future__ import annotations

import pytest

from itr_deploy.benchmarking.figures import milliseconds


def test_percentiles_and_mean_are_in_milliseconds() -> None:
    figures = milliseconds([number / 1000 for number in range(101)])
    assert dict(figures) == pytest.approx({"p50": 50, "p95": 95, "p99": 99, "mean": 50})


def test_one_measurement_is_all_of_its_percentiles() -> None:
    assert set(dict(milliseconds([0.25])).values()) == {250.0}


def test_percentiles_lie_between_measurements() -> None:
    assert milliseconds([0.001, 0.002]).p50 == pytest.approx(1.5)
