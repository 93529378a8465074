"""Of pairs that cannot change a figure the scores need not be known."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.near import near_pairs
from itr_deploy.evaluation.measures.recall import ranks, recall


@settings(deadline=None, max_examples=50)
@given(
    images=st.integers(2, 60),
    each=st.integers(1, 3),
    margin=st.floats(0.001, 0.5),
    seed=st.integers(0, 2**32 - 1),
)
def test_figures_are_those_of_every_pair_where_none_moves_further_than_half_the_margin(
    images: int, each: int, margin: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    plain = rng.random((images, images * each), np.float32)
    moved = plain + rng.uniform(-margin / 2.01, margin / 2.01, plain.shape).astype(np.float32)
    merged = np.where(near_pairs(plain, margin), moved, plain)
    expected = recall(ranks(moved, each))
    found = recall(ranks(merged, each))
    assert found.image_to_text.recalls == expected.image_to_text.recalls
    assert found.text_to_image.recalls == expected.text_to_image.recalls


def test_pairs_far_from_a_right_answer_are_left_out() -> None:
    plain = np.eye(30, dtype=np.float32) + np.float32(0.01) * np.arange(30, dtype=np.float32)
    assert near_pairs(plain, 0.1).sum() == 30
