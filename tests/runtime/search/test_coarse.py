"""Exact shortlists of coarse embeddings in memory."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from itr_deploy.runtime.gallery.read import Vectors
from itr_deploy.runtime.search.coarse import CoarseVectors


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
