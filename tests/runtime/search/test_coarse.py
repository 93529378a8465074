"""Shortlists of coarse embeddings in memory, exact and by codes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from itr_deploy.runtime.gallery.codes import Codes, Found
from itr_deploy.runtime.gallery.read import Vectors
from itr_deploy.runtime.search.coarse import CoarseVectors
from tests.support.sheets import sheet


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_shortlist_holds_the_largest_products_best_first(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 40))
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    vectors = rng.standard_normal((count, 6), np.float32)
    queries = rng.standard_normal((data.draw(st.integers(1, 3)), 6), np.float32)
    allowed = np.flatnonzero(rng.random(count) < 0.6)
    if not len(allowed) or data.draw(st.booleans()):
        allowed = np.arange(count)
    width = data.draw(st.integers(1, len(allowed)))
    names = np.array([f"item{number:02}" for number in range(count)])
    found, _ = CoarseVectors(Vectors(names, vectors)).nearest(queries, width, allowed)
    for row, query in zip(found, queries, strict=True):
        scores = vectors[allowed] @ query
        np.testing.assert_allclose(
            vectors[row] @ query, np.sort(scores)[::-1][:width], rtol=1e-5, atol=1e-5
        )
        assert set(row) <= set(allowed)


def test_equal_items_are_ordered_by_their_ids() -> None:
    names = np.array(["c", "a", "b"])
    coarse = CoarseVectors(Vectors(names, np.ones((3, 2), np.float32)))
    ((found,), _) = coarse.nearest(np.ones((1, 2), np.float32), 2)
    assert names[found].tolist() == ["a", "b"]


ITEMS, QUERIES, WIDTH = 60_000, 12, 256


class Many(NamedTuple):
    vectors: Vectors
    queries: np.ndarray
    codes: Codes


@pytest.fixture(scope="module")
def many() -> Many:
    """Vectors with codes of all but the last thousand."""
    pytest.importorskip("faiss")
    items, queries = sheet(ITEMS, QUERIES, WIDTH)
    names = np.char.mod("item%05d", np.random.default_rng(1).permutation(ITEMS))
    codes = Codes()
    codes.encode(items[:-1_000], threads=2)
    return Many(Vectors(names, items), queries, codes)


def share(found: np.ndarray, exact: np.ndarray) -> float:
    """Of the exact shortlists, those that were found."""
    pairs = zip(found, exact, strict=True)
    return float(np.mean([np.isin(own, row).mean() for row, own in pairs]))


def compared(
    many: Many,
    width: int,
    allowed: np.ndarray | None = None,
    there: np.ndarray | None = None,
) -> float:
    """The share of the exact shortlists, whose products and order are checked."""
    own = CoarseVectors(many.vectors, there, many.codes)
    exact, of_exact = CoarseVectors(many.vectors, there).nearest(many.queries, width, allowed)
    found, products = own.nearest(many.queries, width, allowed)
    assert found.shape == exact.shape == (QUERIES, width)
    for row, scores, query in zip(found, products, many.queries, strict=True):
        assert len(np.unique(row)) == width
        np.testing.assert_allclose(scores, many.vectors.embedding[row] @ query, atol=1e-5)
        assert (np.diff(scores) <= 0).all()
        if there is not None:
            assert there[row].all()
        if allowed is not None:
            assert np.isin(row, allowed).all()
    np.testing.assert_allclose(products[:, 0], of_exact[:, 0], atol=1e-5)
    return share(found, exact)


def scans(many: Many, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many items are asked for, call by call."""
    asked, nearest = list[int](), many.codes.nearest

    def counted(query: np.ndarray, count: int, limit: int) -> Found | None:
        asked.append(count)
        return nearest(query, count, limit)

    monkeypatch.setattr(many.codes, "nearest", counted)
    return asked


@pytest.mark.parametrize("width", [1, 10, 200, 800])
def test_codes_keep_nearly_all_of_the_exact_shortlist(
    many: Many, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = scans(many, monkeypatch)
    assert compared(many, width) >= 0.99
    assert len(asked) >= QUERIES


def test_items_without_codes_yet_are_compared_exactly(many: Many) -> None:
    own = CoarseVectors(many.vectors, None, many.codes)
    late = many.vectors.embedding[-5:]
    found, _ = own.nearest(late, 10)
    assert found[:, 0].tolist() == list(range(ITEMS - 5, ITEMS))


def test_items_that_are_gone_are_in_no_shortlist(many: Many) -> None:
    there = np.random.default_rng(2).random(ITEMS) < 0.8
    assert compared(many, 100, there=there) >= 0.99


@pytest.mark.parametrize("part", [0.9, 0.3, 0.02])
def test_a_filter_leaves_as_many_as_were_asked_for(many: Many, part: float) -> None:
    allowed = np.flatnonzero(np.random.default_rng(3).random(ITEMS) < part)
    assert compared(many, 100, allowed) >= 0.99


def test_a_filter_of_far_items_is_searched_exactly_in_the_end(
    many: Many, monkeypatch: pytest.MonkeyPatch
) -> None:
    products = many.queries[0] @ many.vectors.embedding.T
    allowed = np.sort(np.argsort(products)[: ITEMS // 4])
    asked = scans(many, monkeypatch)
    own = CoarseVectors(many.vectors, None, many.codes)
    found, _ = own.nearest(many.queries[:1], 50, allowed)
    exact, _ = CoarseVectors(many.vectors).nearest(many.queries[:1], 50, allowed)
    np.testing.assert_array_equal(found, exact)
    assert max(asked) > min(asked)


def test_a_shortlist_that_is_wide_for_its_gallery_is_exact(
    many: Many, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = scans(many, monkeypatch)
    assert compared(many, ITEMS // 32) == 1
    assert not asked


def test_evenly_spread_vectors_are_compared_until_it_is_certain() -> None:
    pytest.importorskip("faiss")
    rng = np.random.default_rng(4)
    items = rng.standard_normal((20_000, 32), np.float32)
    names = np.char.mod("%05d", np.arange(len(items)))
    codes = Codes()
    codes.encode(items)
    queries = rng.standard_normal((8, 32), np.float32)
    found, _ = CoarseVectors(Vectors(names, items), None, codes).nearest(queries, 10)
    exact, _ = CoarseVectors(Vectors(names, items)).nearest(queries, 10)
    assert share(found, exact) >= 0.99


def test_many_equal_items_are_ordered_by_their_ids_with_codes_too(many: Many) -> None:
    items = many.vectors.embedding.copy()
    items[1_000:3_000] = many.queries[0]
    codes = Codes()
    codes.encode(items)
    vectors = Vectors(many.vectors.ids, items)
    found, _ = CoarseVectors(vectors, None, codes).nearest(many.queries[:1], 10)
    assert many.vectors.ids[found[0]].tolist() == sorted(many.vectors.ids[1_000:3_000])[:10]


def test_one_querys_shortlist_does_not_depend_on_the_others(many: Many) -> None:
    own = CoarseVectors(many.vectors, None, many.codes)
    together, _ = own.nearest(many.queries, 50)
    alone = [own.nearest(query[None], 50)[0][0] for query in many.queries]
    np.testing.assert_array_equal(together, np.stack(alone))


def test_contenders_of_parts_hold_nearly_all_of_the_shortlist_of_all(many: Many) -> None:
    width, exact = 50, CoarseVectors(many.vectors)
    expected, _ = exact.nearest(many.queries, width)
    for row, (places, products) in zip(
        expected,
        CoarseVectors(many.vectors, None, many.codes).contenders(many.queries, width),
        strict=True,
    ):
        assert (np.diff(places) > 0).all()
        assert len(places) == len(products) >= width
        assert np.isin(row, places).mean() >= 0.98
