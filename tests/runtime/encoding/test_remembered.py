"""Texts that were asked for before are not encoded again, and are what they were."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from itr_deploy import Gallery, Matcher, Retriever
from itr_deploy.errors import InputError
from itr_deploy.runtime.encoding.encoded import Encoded
from itr_deploy.runtime.encoding.remembered import MOST_TEXTS, RememberedTexts, kept_bytes
from tests.support.items import images, names

LARGE = 1 << 30
WORDS = ("a", "dog", "with", "cat", "and", "ball")
TEXTS = st.lists(st.sampled_from(WORDS), min_size=1, max_size=12).map(" ".join)


class Counted:
    """Encodes texts and keeps what it was asked for."""

    def __init__(self, matcher: Matcher) -> None:
        self.matcher = matcher
        self.asked: list[list[str]] = []

    def __call__(self, texts: Sequence[str]) -> Encoded:
        self.asked.append(list(texts))
        return self.matcher.encode_texts(texts)

    def remembering(self, budget: int = LARGE) -> RememberedTexts:
        return RememberedTexts(self, self.matcher.bundle.manifest.texts, budget)


def assert_same(found: Encoded, expected: Encoded) -> None:
    """The same texts in the same blocks, but for last bits; what is behind a text is never read."""
    assert len(found) == len(expected)
    assert found.encoding_id == expected.encoding_id
    np.testing.assert_allclose(found.embedding, expected.embedding, atol=1e-5)
    assert len(found.blocks) == len(expected.blocks)
    for ours, theirs in zip(found.blocks, expected.blocks, strict=True):
        np.testing.assert_array_equal(ours.rows, theirs.rows)
        np.testing.assert_array_equal(ours.lengths, theirs.lengths)
        assert ours.tensors.keys() == theirs.tensors.keys()
        for name, tensor in theirs.tensors.items():
            assert ours.tensors[name].dtype == tensor.dtype
            assert ours.tensors[name].shape == tensor.shape
            for own, other, length in zip(ours.tensors[name], tensor, theirs.lengths, strict=True):
                np.testing.assert_allclose(own[:length], other[:length], atol=1e-5)


@given(calls=st.lists(st.lists(TEXTS, min_size=1, max_size=6), min_size=1, max_size=4))
def test_texts_are_what_the_encoder_makes_of_them(calls: list[list[str]], matcher: Matcher) -> None:
    counted = Counted(matcher)
    remembered = counted.remembering()
    for texts in calls:
        assert_same(remembered.encode(texts), matcher.encode_texts(texts))
    asked = [text for texts in counted.asked for text in texts]
    # Texts given twice in the first call that asks for them are encoded as they are given.
    assert set(asked) == {text for texts in calls for text in texts}
    again = len(counted.asked)
    for texts in calls:
        remembered.encode(texts)
    assert len(counted.asked) == again


def test_only_what_is_new_is_encoded(matcher: Matcher) -> None:
    counted = Counted(matcher)
    remembered = counted.remembering()
    remembered.encode(["a dog"])
    remembered.encode(["a cat", "a dog", "a ball", "a cat"])
    assert counted.asked == [["a dog"], ["a cat", "a ball"]]


def test_what_was_asked_for_longest_ago_goes_first(matcher: Matcher) -> None:
    counted = Counted(matcher)
    remembered = counted.remembering(2 * kept_bytes("a ball", matcher.encode_texts(["a ball"])))
    for text in ("a dog", "a cat", "a dog", "a ball", "a dog", "a cat"):
        remembered.encode([text])
    assert counted.asked == [["a dog"], ["a cat"], ["a ball"], ["a cat"]]


def test_without_a_budget_and_of_one_that_is_too_small_nothing_is_kept(matcher: Matcher) -> None:
    for budget in (0, 10):
        counted = Counted(matcher)
        remembered = counted.remembering(budget)
        for _ in range(2):
            assert_same(remembered.encode(["a dog"]), matcher.encode_texts(["a dog"]))
        assert len(counted.asked) == 2


def test_no_more_memory_is_taken_than_the_budget(matcher: Matcher) -> None:
    budget, one = 1 << 20, matcher.encode_texts(["a dog"])
    for blanks in (0, 9_000):  # what is written counts, not the words alone
        remembered = RememberedTexts(lambda _: one, matcher.bundle.manifest.texts, budget)
        tracemalloc.start()
        for number in range(600):
            remembered.encode(["a dog" + " " * (blanks + number)])
        taken, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert 0.5 * budget < taken < 1.1 * budget


def test_very_many_texts_at_once_are_not_kept(matcher: Matcher) -> None:
    counted = Counted(matcher)
    remembered = counted.remembering()
    texts = [" ".join(WORDS[: 1 + number % 6]) for number in range(MOST_TEXTS + 1)]
    remembered.encode(["a dog"])
    for _ in range(2):
        assert_same(remembered.encode(texts), matcher.encode_texts(texts))
    remembered.encode(["a dog"])
    assert counted.asked == [["a dog"], texts, texts]


@pytest.mark.parametrize(
    "wrong", [[["a"]], [1], [""], "", None, 5, ["a dog", None], ["a dog", "\t"]]
)
def test_what_is_no_text_is_refused_as_ever(wrong: object, matcher: Matcher) -> None:
    remembered = RememberedTexts(matcher.encode_texts, matcher.bundle.manifest.texts, LARGE)
    remembered.encode(["a dog"])
    for _ in range(2):
        with pytest.raises(InputError) as found:
            remembered.encode(wrong)  # type: ignore[arg-type]
        with pytest.raises(InputError) as expected:
            matcher.encode_texts(wrong)  # type: ignore[arg-type]
        assert str(found.value) == str(expected.value)


def test_several_threads_get_their_texts(matcher: Matcher) -> None:
    texts = [" ".join(WORDS[: 1 + number % 6]) for number in range(60)]
    expected = {text: matcher.encode_texts([text]) for text in set(texts)}
    budget = 2 * kept_bytes(*next(iter(expected.items())))
    remembered = Counted(matcher).remembering(budget)
    with ThreadPoolExecutor(8) as pool:
        each = list(pool.map(lambda one: remembered.encode([one]), texts))
        for text, found in zip(texts, each, strict=True):
            assert_same(found, expected[text])


def test_a_query_that_is_asked_again_has_the_same_hits(matcher: Matcher, tmp_path: object) -> None:
    gallery = Gallery.create(f"{tmp_path}/gallery", matcher)
    gallery.add(names(20), images(20))
    remembering = Retriever(matcher, gallery)
    forgetting = Retriever(matcher, gallery, query_budget=0)
    queries = ["a dog", "a cat with a ball", "a dog and a cat"]
    remembering.search(queries[1])
    for _ in range(2):
        for ours, theirs in zip(
            remembering.search(queries), forgetting.search(queries), strict=True
        ):
            assert [hit.id for hit in ours] == [hit.id for hit in theirs]
            np.testing.assert_allclose(
                [hit.score for hit in ours], [hit.score for hit in theirs], atol=1e-5
            )
