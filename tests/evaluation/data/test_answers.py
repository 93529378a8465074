from __future__ import annotations

import numpy as np
import pytest

from itr_deploy.errors import UsageError
from itr_deploy.evaluation.data.answers import Answers

SOME = Answers.of([2, 0, 3, 1])


def test_captions_are_those_of_consecutive_images() -> None:
    assert SOME.image_of.tolist() == [0, 0, 2, 2, 2, 3]
    assert SOME.captions(slice(0, 2)) == slice(0, 2)
    assert SOME.captions(slice(1, 2)) == slice(2, 2)
    assert SOME.captions(slice(1, 4)) == slice(2, 6)


def test_a_part_has_its_own_numbers() -> None:
    assert SOME.part(slice(1, 4)).image_of.tolist() == [1, 1, 1, 2]


def test_right_answers_go_both_ways() -> None:
    texts = np.arange(6)[None].repeat(2, axis=0)
    assert SOME.right("image", slice(1, 3), texts).tolist() == [
        [False] * 6,
        [False, False, True, True, True, False],
    ]
    images = np.arange(4)[None].repeat(2, axis=0)
    assert SOME.right("text", slice(1, 3), images).tolist() == [
        [True, False, False, False],
        [False, False, True, False],
    ]


def test_a_half_is_that_of_the_image() -> None:
    assert SOME.odd("image", slice(0, 4)).tolist() == [False, True, False, True]
    assert SOME.odd("text", slice(1, 6)).tolist() == [False, False, False, False, True]


def test_the_number_per_image_is_there_where_all_have_it() -> None:
    assert Answers.equal(3, 5).per_image == 5
    assert SOME.per_image is None


def test_values_are_reduced_over_an_images_captions() -> None:
    values = np.array([1.0, 3.0, 2.0, np.nan, 0.0, -7.0])
    assert SOME.reduce(np.add, np.ones(6, np.int64)).tolist() == [2, 0, 3, 1]
    np.testing.assert_array_equal(SOME.reduce(np.maximum, values), [3, 0, np.nan, -7])


def test_folds_are_of_images_whatever_captions_they_have() -> None:
    assert SOME.folds(2) == [(slice(0, 2), slice(0, 2)), (slice(2, 4), slice(2, 6))]


def test_a_fold_without_captions_is_refused() -> None:
    with pytest.raises(UsageError, match="fold 2 of 4 has no captions"):
        SOME.folds(4)
