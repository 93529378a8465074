"""Codes of coarse embeddings: what they cover, how they grow, how near their estimates are."""

from __future__ import annotations

import gc
import logging
import threading
import time

import numpy as np
import pytest

from itr_deploy.runtime.gallery import codes as module
from itr_deploy.runtime.gallery.codes import Codes, size, wanted_bytes
from tests.support.sheets import sheet

pytest.importorskip("faiss")
COUNT, WIDTH = 20_000, 128


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    return sheet(COUNT, 1, WIDTH)[0]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Galleries of a few thousand items have codes."""
    monkeypatch.setattr(module, "FROM", 1_000)
    monkeypatch.setattr(module, "LEAST", 500)


def parts(codes: Codes) -> list[tuple[int, int]]:
    return [(part.start, part.stop) for part in codes._parts]


def wait(codes: Codes, covered: int) -> None:
    end = time.monotonic() + 60
    while codes.covered < covered and time.monotonic() < end:
        time.sleep(0.01)
    assert codes.covered == covered


def test_an_estimate_is_near_its_product(vectors: np.ndarray) -> None:
    codes, query = Codes(), vectors[5]
    codes.encode(vectors)
    found = codes.nearest(query, 2_000, COUNT)
    assert found is not None
    assert (found.covered, len(found.places)) == (COUNT, 2_000)
    products = vectors[found.places] @ query
    assert 5 in found.places
    assert np.corrcoef(products, found.estimates)[0, 1] > 0.6
    assert found.estimates.min() == found.cut
    far = np.setdiff1d(np.arange(COUNT), found.places)
    assert (vectors[far] @ query).mean() < np.sort(products)[0]


def test_large_dimensions_do_not_drown_the_others(vectors: np.ndarray) -> None:
    uneven = vectors.copy()
    uneven[:, :4] *= 20
    query = uneven[5]
    codes = Codes()
    codes.encode(uneven)
    found = codes.nearest(query, 1_000, COUNT)
    assert found is not None
    best = np.argsort(-(uneven @ query))[:200]
    assert np.isin(best, found.places).mean() > 0.95


def test_what_is_added_gets_codes_of_its_own_until_it_is_worth_joining(
    vectors: np.ndarray,
) -> None:
    codes = Codes()
    codes.encode(vectors[:10_000])
    codes.encode(vectors[:11_000])
    assert parts(codes) == [(0, 10_000), (10_000, 11_000)]
    codes.encode(vectors[:11_500])
    assert parts(codes) == [(0, 10_000), (10_000, 11_500)]
    codes.encode(vectors[:20_000])
    assert parts(codes) == [(0, 20_000)]
    codes.encode(vectors)
    assert parts(codes) == [(0, 20_000)]


def test_threads_have_a_part_each_and_find_the_same(
    vectors: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PART", 5_000)
    codes = Codes()
    codes.encode(vectors, threads=2)
    assert parts(codes) == [(0, 10_000), (10_000, 20_000)]
    found = codes.nearest(vectors[5], 500, COUNT)
    assert found is not None
    assert len(np.unique(found.places)) == 500
    assert np.isin(np.argsort(-(vectors @ vectors[5]))[:50], found.places).all()


def test_an_earlier_version_does_not_see_what_came_later(vectors: np.ndarray) -> None:
    codes = Codes()
    codes.encode(vectors)
    found = codes.nearest(vectors[15_000], 500, 10_000)
    assert found is not None
    assert found.covered == 10_000
    assert len(found.places) > 0
    assert found.places.max() < 10_000


def test_items_that_are_all_alike_and_queries_of_no_numbers_have_no_estimates(
    vectors: np.ndarray,
) -> None:
    codes = Codes()
    codes.encode(np.ones((1_000, WIDTH), np.float32))
    found = codes.nearest(vectors[0], 10, 1_000)
    # Some releases estimate them all alike; then the cut is no lower than any.
    assert found is None or found.cut == found.estimates.max()
    codes = Codes()
    codes.encode(vectors)
    assert codes.nearest(np.full(WIDTH, np.nan, np.float32), 10, COUNT) is None


@pytest.mark.usefixtures("small")
def test_codes_are_due_for_many_items_and_for_many_late_ones(vectors: np.ndarray) -> None:
    codes = Codes()
    assert [codes.due(count) for count in (999, 1_000)] == [False, True]
    codes.encode(vectors[:2_000])
    assert [codes.due(count) for count in (2_499, 2_500)] == [False, True]
    assert codes.bytes == size(2_000, WIDTH) == 2_000 * (16 + 8)
    assert [wanted_bytes(count, WIDTH) for count in (999, 1_000)] == [0, 24_000]


@pytest.mark.usefixtures("small")
def test_without_faiss_nothing_is_due_and_the_log_says_what_installs_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    module.available.cache_clear()
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    try:
        with caplog.at_level(logging.INFO, "itr_deploy"):
            assert not Codes().due(1_000_000)
        assert wanted_bytes(1_000_000, WIDTH) == 0
    finally:
        module.available.cache_clear()
    assert "pip install 'itr-deploy[faiss]'" in caplog.text


def test_codes_are_made_beside_searches(vectors: np.ndarray) -> None:
    codes, pauses = Codes(), list[float]()
    codes.encode_beside(vectors, 1, pauses.append)
    wait(codes, COUNT)
    assert pauses
    codes.encode_beside(vectors[:500], 1, pauses.append)
    wait(codes, COUNT)


def test_one_thread_makes_codes_whoever_asks(vectors: np.ndarray) -> None:
    codes, go, calls = Codes(), threading.Event(), list[float]()

    def pause(seconds: float) -> None:
        calls.append(seconds)
        go.wait(30)

    for _ in range(3):
        codes.encode_beside(vectors[:5_000], 1, pause)
    assert [one.name for one in threading.enumerate()].count("itr-deploy-codes") == 1
    go.set()
    wait(codes, 5_000)
    assert len(calls) == 1


def test_codes_that_nobody_has_any_more_are_not_made_to_the_end(vectors: np.ndarray) -> None:
    codes, go, calls = Codes(), threading.Event(), list[float]()

    def pause(seconds: float) -> None:
        calls.append(seconds)
        go.wait(30)

    codes.encode_beside(vectors, 1, pause)
    end = time.monotonic() + 30
    while not calls and time.monotonic() < end:
        time.sleep(0.01)
    del codes
    gc.collect()
    go.set()
    (thread,) = [one for one in threading.enumerate() if one.name == "itr-deploy-codes"] or [None]
    if thread is not None:
        thread.join(30)
    assert len(calls) == 1


def test_a_failure_leaves_shortlists_exact_and_says_so(
    vectors: np.ndarray, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*given: object) -> None:
        raise MemoryError("no memory is left")

    monkeypatch.setattr(module, "_part", fail)
    codes = Codes()
    codes.encode_beside(vectors, 1, lambda seconds: None)
    end = time.monotonic() + 30
    while not caplog.records and time.monotonic() < end:
        time.sleep(0.01)
    assert "shortlists of 20000 items stay exact: no memory is left" in caplog.text
    assert codes.covered == 0
