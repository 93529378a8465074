"""How precisely int8 storage keeps a tensor."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from itr_deploy.runtime.encoding.storage import dequantised, quantised, restored, stored

SHAPES = arrays.array_shapes(min_dims=2, max_dims=3, min_side=1, max_side=6)
VALUES = st.floats(-(2.0**100), 2.0**100, width=32)
TENSORS = arrays.arrays(np.float32, SHAPES, elements=VALUES)


@given(tensor=TENSORS)
def test_a_value_is_off_by_half_of_its_vectors_scale_at_most(tensor: np.ndarray) -> None:
    values, scales = quantised(tensor)
    assert (values.shape, values.dtype) == (tensor.shape, np.int8)
    assert (scales.shape, scales.dtype) == (tensor.shape[:-1], np.float32)
    back = dequantised(values, scales)
    assert (back.shape, back.dtype) == (tensor.shape, np.float32)
    # A vector too small for a normal scale is zeros.
    allowed = np.where(scales > 0, 0.5001 * scales.astype(np.float64), 127 * 2.0**-126)
    assert (np.abs(back.astype(np.float64) - tensor) <= allowed[..., None]).all()


@given(tensor=TENSORS)
def test_zeros_stay_zeros_signs_stay_and_the_largest_is_127(tensor: np.ndarray) -> None:
    values, scales = quantised(tensor)
    assert (values[tensor == 0] == 0).all()
    assert (values * np.sign(tensor) >= 0).all()
    assert (scales[(tensor == 0).all(axis=-1)] == 0).all()
    assert (np.abs(values.astype(int)).max(axis=-1) == np.where(scales > 0, 127, 0)).all()


@given(tensor=TENSORS)
def test_what_was_stored_once_is_stored_again_as_it_is(tensor: np.ndarray) -> None:
    once = dequantised(*quantised(tensor))
    np.testing.assert_array_equal(quantised(once)[0], quantised(tensor)[0])


def test_scales_stand_beside_their_tensors_and_are_gone_when_these_are_restored() -> None:
    tensors = {"words": np.ones((2, 3, 4), np.float32), "vector": np.ones((2, 4), np.float32)}
    kept = stored(tensors, "int8")
    shapes = {name: array.shape for name, array in kept.items()}
    assert shapes == {
        "words": (2, 3, 4), "words_scale": (2, 3), "vector": (2, 4), "vector_scale": (2,),
    }  # fmt: skip
    back = restored(kept)
    assert back.keys() == tensors.keys()
    for name, tensor in tensors.items():
        np.testing.assert_allclose(back[name], tensor, rtol=1e-6)


def test_a_float_tensor_called_as_scales_are_is_no_scale_of_a_float_one() -> None:
    tensors = {"words": np.ones((1, 2), np.float32), "words_scale": np.ones((1, 2), np.float32)}
    assert restored(stored(tensors, "float16")).keys() == tensors.keys()
