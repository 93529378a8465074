from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from itr_deploy.evaluation.measures.merge import Rescored, TwoWayMerge
from itr_deploy.evaluation.measures.recall import ranks


def rescored(rng: np.random.Generator, queries: int, items: int, width: int) -> Rescored:
    chosen = np.stack([rng.permutation(items)[:width] for _ in range(queries)])
    return Rescored(chosen, rng.standard_normal(chosen.shape).astype(np.float32))


def written_out(merge: TwoWayMerge) -> np.ndarray:
    """S1 and S2 filled in one score at a time."""
    first, second = np.array(merge.scores), np.array(merge.scores)
    for image, row in enumerate(merge.by_image.items):
        for place, caption in enumerate(row):
            first[image, caption] = merge.by_image.scores[image, place]
    for caption, row in enumerate(merge.by_caption.items):
        for place, image in enumerate(row):
            second[image, caption] = merge.by_caption.scores[caption, place]
    return (first + second) / 2


@given(
    seed=st.integers(0, 1000),
    images=st.integers(1, 6),
    per=st.integers(1, 4),
    width=st.integers(1, 6),
    data=st.data(),
)
def test_any_block_is_that_of_the_mean_of_both_matrices(
    seed: int, images: int, per: int, width: int, data: st.DataObject
) -> None:
    rng = np.random.default_rng(seed)
    captions = images * per
    merge = TwoWayMerge(
        rng.standard_normal((images, captions)).astype(np.float32),
        rescored(rng, images, captions, min(width, captions)),
        rescored(rng, captions, images, min(width, images)),
    )
    expected = written_out(merge)
    top = data.draw(st.integers(0, images - 1))
    left = data.draw(st.integers(0, captions - 1))
    part = slice(top, images), slice(left, captions)
    np.testing.assert_allclose(merge[part], expected[part], atol=1e-6)
    np.testing.assert_allclose(merge[:, :], expected, atol=1e-6)
    found, wanted = ranks(merge, per, block_bytes=64), ranks(merge[:, :], per)
    assert found.image_to_text.tolist() == wanted.image_to_text.tolist()
    assert found.text_to_image.tolist() == wanted.text_to_image.tolist()


def test_a_score_that_is_not_rescored_stays() -> None:
    scores = np.arange(6, dtype=np.float32).reshape(2, 3)
    none = Rescored(np.empty((2, 0), np.int64), np.empty((2, 0), np.float32))
    one = Rescored(np.array([[1], [0], [0]]), np.full((3, 1), 10, np.float32))
    np.testing.assert_array_equal(TwoWayMerge(scores, none, one)[:, :], [[0, 5.5, 6], [6.5, 4, 5]])
