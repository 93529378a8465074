"""A dual encoder's scores do not depend on how many threads compute them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from itr_deploy.runtime import product_scorer
from itr_deploy.runtime.encoding.encoded import Encoded
from itr_deploy.runtime.product_scorer import ProductScorer


def encoded(modality: str, vectors: np.ndarray) -> Encoded:
    return Encoded(modality, vectors, (), "id")  # type: ignore[arg-type]


@settings(deadline=None, max_examples=60)
@given(
    items=st.integers(0, 50),
    width=st.integers(1, 40),
    views=st.integers(1, 3),
    threads=st.integers(2, 7),
    queries=st.integers(1, 3),
    seed=st.integers(0, 99),
)
def test_any_number_of_threads_gives_the_same_values(
    items: int, width: int, views: int, threads: int, queries: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    texts = encoded("text", rng.standard_normal((queries, width), np.float32))
    images = encoded("image", rng.standard_normal((items, views * width), np.float32))
    expected = ProductScorer().score_all(texts, images)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(product_scorer, "SHARED_BYTES", 1)
        found = ProductScorer(threads).score_all(texts, images)
    assert found.shape == (queries, items)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
