from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from itr_deploy.bundle.manifest import ImageItems, TextItems
from itr_deploy.errors import InputError
from itr_deploy.runtime.encoding.checks import check_regions, check_token_ids, finite_batch

IMAGES = ImageItems(feature_dim=5, regions=None, tensors=())
TEXTS = TextItems(vocab_size=40, max_tokens=9, tensors=())


def refusal(check: Any, *arguments: Any) -> str:
    with pytest.raises(InputError) as caught:
        check(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_regions_of_every_float_type_become_float32(kind: type) -> None:
    regions = np.ones((2, 3, 5), kind)
    batch = finite_batch(check_regions(regions, IMAGES), np.arange(2))
    assert batch.dtype == np.float32
    assert batch.flags.c_contiguous


def test_regions_as_nested_lists_are_taken() -> None:
    assert check_regions([[[0.0] * 5] * 3], IMAGES).shape == (1, 3, 5)


@pytest.mark.parametrize("shape", [(), (5,), (3, 5), (1, 2, 3, 5)])
def test_regions_of_another_rank_are_refused_with_their_shape(shape: tuple[int, ...]) -> None:
    message = refusal(check_regions, np.zeros(shape), IMAGES)
    assert str(list(shape)) in message
    assert "[images, regions, 5]" in message


def test_regions_of_another_width_are_refused_with_both() -> None:
    message = refusal(check_regions, np.zeros((1, 3, 7)), IMAGES)
    assert "7 features" in message
    assert "takes 5" in message


def test_images_without_regions_are_refused() -> None:
    assert "0 regions" in refusal(check_regions, np.zeros((2, 0, 5)), IMAGES)


@pytest.mark.parametrize("count", [3, 5])
def test_a_model_that_fixes_its_regions_refuses_other_counts(count: int) -> None:
    fixed = IMAGES.model_copy(update={"regions": 4})
    message = refusal(check_regions, np.zeros((1, count, 5)), fixed)
    assert f"{count} regions" in message
    assert "takes 4" in message
    check_regions(np.zeros((1, 4, 5)), fixed)


@pytest.mark.parametrize("kind", [np.int64, np.uint8, np.bool_, np.complex64, object, "U1"])
def test_regions_that_are_no_floats_are_refused_with_their_type(kind: Any) -> None:
    message = refusal(check_regions, np.zeros((1, 3, 5)).astype(kind), IMAGES)
    assert str(np.dtype(kind)) in message


def test_ragged_regions_are_refused() -> None:
    message = refusal(check_regions, [[[0.0] * 5], [[0.0] * 5] * 2], IMAGES)
    assert "regions do not make one array" in message


def test_ragged_token_ids_are_refused() -> None:
    message = refusal(check_token_ids, [[1, 4, 2], [1, 2]], [3, 2], TEXTS)
    assert "token ids do not make one array" in message


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_a_value_that_is_not_finite_in_float32_names_its_image(value: float) -> None:
    regions = np.zeros((4, 3, 5))
    regions[2, 1, 0] = value
    message = refusal(finite_batch, regions, np.array([100, 101, 107, 108]))
    assert "regions of image 107 hold NaN or infinity" in message


@pytest.mark.parametrize("kind", [np.int16, np.int64, np.uint8])
def test_token_ids_of_every_integer_type_become_int64(kind: type) -> None:
    ids, lengths = check_token_ids(np.ones((2, 4), kind), np.array([4, 1], kind), TEXTS)
    assert ids.dtype == lengths.dtype == np.int64


@pytest.mark.parametrize(
    ("ids", "lengths"),
    [((4,), (4,)), ((2, 4), (3,)), ((2, 4), (2, 1)), ((2, 4, 1), (2,)), ((2, 4), ())],
)
def test_token_ids_and_lengths_that_do_not_fit_are_refused_with_their_shapes(
    ids: tuple[int, ...], lengths: tuple[int, ...]
) -> None:
    message = refusal(check_token_ids, np.ones(ids, int), np.ones(lengths, int), TEXTS)
    assert str(list(ids)) in message
    assert str(list(lengths)) in message


def test_token_ids_that_are_no_integers_are_refused_with_their_types() -> None:
    message = refusal(check_token_ids, np.ones((1, 2)), np.ones(1, int), TEXTS)
    assert "float64" in message
    refusal(check_token_ids, np.ones((1, 2), bool), np.ones(1, int), TEXTS)
    refusal(check_token_ids, np.ones((1, 2), int), np.ones(1), TEXTS)


@pytest.mark.parametrize("length", [0, -1, 5, 100])
def test_a_length_outside_the_padding_is_refused(length: int) -> None:
    message = refusal(check_token_ids, np.ones((3, 4), int), np.array([4, length, 4]), TEXTS)
    assert f"text 1 has {length} tokens" in message
    assert "1 to 4" in message


def test_a_length_over_the_bundles_limit_is_refused() -> None:
    message = refusal(check_token_ids, np.ones((1, 12), int), np.array([10]), TEXTS)
    assert "text 0 has 10 tokens" in message
    assert "1 to 9" in message


@pytest.mark.parametrize("value", [-1, 40, 2**40])
def test_a_token_id_outside_the_vocabulary_is_refused(value: int) -> None:
    ids = np.ones((3, 4), np.int64)
    ids[2, 1] = value
    message = refusal(check_token_ids, ids, np.array([4, 4, 4]), TEXTS)
    assert f"text 2: token id {value}" in message
    assert "0 to 39" in message


def test_unsigned_ids_beyond_int64_are_refused() -> None:
    ids = np.full((1, 2), 2**63 + 1, np.uint64)
    assert str(2**63 + 1) in refusal(check_token_ids, ids, np.array([2]), TEXTS)


class Refuses:
    """As a tensor of PyTorch that wants a gradient."""

    def __array__(self, dtype: object = None, copy: object = None) -> np.ndarray:
        raise RuntimeError("call detach() first")


def test_what_makes_no_array_is_refused_in_one_line() -> None:
    assert "regions do not make one array: call detach() first" in refusal(
        check_regions, Refuses(), IMAGES
    )
    masked = np.ma.masked_array(np.ones((1, 3, 5)), mask=True)
    assert "masked array" in refusal(check_regions, masked, IMAGES)
