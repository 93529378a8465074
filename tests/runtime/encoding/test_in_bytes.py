"""Vectors as bytes with a scale each."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from itr_deploy.runtime.encoding.in_bytes import as_bytes
from itr_deploy.runtime.encoding.storage import ZERO

VALUES = st.floats(-1e4, 1e4, width=16)


@pytest.mark.parametrize("kind", [np.float16, np.float32])
@settings(max_examples=50, deadline=None)
@given(vectors=arrays.arrays(np.float16, (4, 3, 5), elements=VALUES))
def test_a_value_is_off_by_half_of_its_vectors_scale_at_most(
    kind: type, vectors: np.ndarray
) -> None:
    exact = vectors.astype(kind)
    content, scales = as_bytes(exact)
    assert content.dtype == np.uint8
    assert scales.shape == (4, 3)
    back = (content.astype(np.float32) - ZERO) * scales[..., None]
    assert (np.abs(back - exact) <= 0.501 * scales[..., None]).all()


def test_largest_values_of_either_sign_are_exact_and_zeros_stay_zeros() -> None:
    content, scales = as_bytes(np.array([[2.54, -2.54, 0.0], [0, 0, 0]], np.float32))
    np.testing.assert_array_equal(content, [[ZERO + 127, ZERO - 127, ZERO], [ZERO] * 3])
    np.testing.assert_allclose(scales, [0.02, 0], atol=1e-7)
