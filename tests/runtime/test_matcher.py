from __future__ import annotations

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from itr_deploy import Matcher
from itr_deploy.errors import InputError, UsageError
from tests.support.items import WIDTH, images, texts

CLOSE = 2e-5
"""How far the order of additions may move a float32 score."""


def frugal(matcher: Matcher, budget: int) -> Matcher:
    """The same matcher with so little memory that it works in tiny tiles."""
    return Matcher(matcher.bundle, matcher.backend, memory_budget=budget)


def refusal(call: Any, *arguments: Any, **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        call(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


LENGTHS = st.lists(st.integers(1, 25), min_size=1, max_size=6)


@settings(max_examples=25, deadline=None)
@given(
    count=st.integers(1, 6),
    regions=st.integers(1, 9),
    lengths=LENGTHS,
    padding=st.integers(0, 12),
    seed=st.integers(0, 99),
    data=st.data(),
)
def test_a_pairs_score_does_not_depend_on_batch_order_or_padding(
    count: int,
    regions: int,
    lengths: list[int],
    padding: int,
    seed: int,
    data: st.DataObject,
    matcher: Matcher,
) -> None:
    features, (ids, counts) = images(count, regions, seed), texts(lengths, 0, seed)
    batch = matcher.score(texts=(ids, counts), images=features)
    assert batch.shape == (count, len(lengths))
    assert batch.dtype == np.float32
    assert np.isfinite(batch).all()

    padded = np.pad(ids, ((0, 0), (0, padding)))
    np.testing.assert_allclose(
        matcher.score(texts=(padded, counts), images=features), batch, atol=CLOSE
    )
    rows = data.draw(st.permutations(range(count)))
    columns = data.draw(st.permutations(range(len(lengths))))
    shuffled = matcher.score(texts=(ids[columns], counts[columns]), images=features[rows])
    np.testing.assert_allclose(shuffled, batch[np.ix_(rows, columns)], atol=CLOSE)

    image, text = data.draw(st.integers(0, count - 1)), data.draw(st.integers(0, len(lengths) - 1))
    alone = matcher.score(
        texts=(ids[text : text + 1, : counts[text]], counts[text : text + 1]),
        images=features[image : image + 1],
    )
    np.testing.assert_allclose(alone[0, 0], batch[image, text], atol=CLOSE)


@settings(max_examples=15, deadline=None)
@given(
    count=st.integers(1, 8),
    lengths=LENGTHS,
    budget=st.sampled_from([1, 10_000, 100_000, 1_000_000]),
    seed=st.integers(0, 99),
)
def test_scores_do_not_depend_on_the_memory_there_is(
    count: int, lengths: list[int], budget: int, seed: int, matcher: Matcher
) -> None:
    features, given_texts = images(count, 4, seed), texts(lengths, 2, seed)
    np.testing.assert_allclose(
        frugal(matcher, budget).score(texts=given_texts, images=features),
        matcher.score(texts=given_texts, images=features),
        atol=CLOSE,
    )


@settings(max_examples=15, deadline=None)
@given(
    data=st.data(), lengths=LENGTHS, count=st.integers(1, 8), by=st.sampled_from(["text", "image"])
)
def test_own_candidates_score_as_shared_ones(
    data: st.DataObject, lengths: list[int], count: int, by: str, matcher: Matcher
) -> None:
    encoded_texts = matcher.encode_token_ids(*texts(lengths))
    encoded_images = matcher.encode_images(images(count))
    sides = (encoded_texts, encoded_images)
    queries, gallery = sides if by == "text" else sides[::-1]
    everything = matcher.scorer.score_all(queries, gallery)
    width = data.draw(st.integers(1, len(gallery)))
    candidates = np.array(
        [data.draw(st.permutations(range(len(gallery))))[:width] for _ in range(len(queries))]
    )
    for scorer in (matcher.scorer, frugal(matcher, 40_000).scorer):
        np.testing.assert_allclose(
            scorer.score_candidates(queries, gallery, candidates),
            np.take_along_axis(everything, candidates, axis=1),
            atol=CLOSE,
        )
    rows = candidates[0]
    np.testing.assert_allclose(
        matcher.scorer.score_all(queries, gallery, rows), everything[:, rows], atol=CLOSE
    )


def test_both_directions_give_a_pair_one_score(matcher: Matcher) -> None:
    encoded_texts = matcher.encode_token_ids(*texts([3, 9, 20, 4]))
    encoded_images = matcher.encode_images(images(5))
    np.testing.assert_allclose(
        matcher.scorer.score_all(encoded_texts, encoded_images),
        matcher.scorer.score_all(encoded_images, encoded_texts).T,
        atol=CLOSE,
    )


def test_what_was_encoded_once_scores_as_what_was_given(matcher: Matcher) -> None:
    features, given_texts = images(70), texts([2, 9, 30])
    expected = matcher.score(texts=given_texts, images=features)
    encoded_images, encoded_texts = (
        matcher.encode_images(features),
        matcher.encode_token_ids(*given_texts),
    )
    for text_side in (given_texts, encoded_texts):
        for image_side in (features, encoded_images):
            scores = matcher.score(texts=text_side, images=image_side)
            np.testing.assert_allclose(scores, expected, atol=CLOSE)
    part = matcher.score(texts=encoded_texts.take(slice(1, 3)), images=encoded_images.take([5, 2]))
    np.testing.assert_allclose(part, expected[[5, 2], 1:3], atol=CLOSE)


def test_half_precision_tensors_score_within_their_rounding(matcher: Matcher) -> None:
    whole = matcher.encode_images(images(5))
    half = whole.stored_as("float16")
    given_texts = texts([4, 7])
    exact = matcher.score(texts=given_texts, images=whole)
    rounded = matcher.score(texts=given_texts, images=half)
    np.testing.assert_allclose(rounded, exact, atol=1e-2)
    assert not np.array_equal(rounded, exact)


def test_int8_tensors_score_as_what_they_stand_for(matcher: Matcher) -> None:
    sides = matcher.encode_images(images(5)), matcher.encode_token_ids(*texts([4, 7, 12]))
    assert matcher.prefilter is not None
    for queries, gallery in (sides, sides[::-1]):
        narrow = gallery.stored_as("int8")
        assert {block.storage for block in narrow.blocks} == {"int8"}
        wide = narrow.stored_as("float32")
        for scorer in (matcher.scorer, matcher.prefilter):
            found, expected = scorer.score_all(queries, narrow), scorer.score_all(queries, wide)
            np.testing.assert_allclose(found, expected, atol=1e-5)
            assert not np.array_equal(found, scorer.score_all(queries, gallery))


def test_ids_past_a_texts_length_are_ignored(matcher: Matcher) -> None:
    ids, counts = texts([3, 8], padding=4)
    other = np.where(ids == 0, 17, ids)
    np.testing.assert_array_equal(
        matcher.score(texts=(other, counts), images=images(3)),
        matcher.score(texts=(ids, counts), images=images(3)),
    )


@pytest.mark.parametrize("kind", [np.float16, np.float64])
def test_regions_of_other_float_types_are_taken(kind: type, matcher: Matcher) -> None:
    features = images(3).astype(np.float16)
    np.testing.assert_array_equal(
        matcher.score(texts=["a dog"], images=features.astype(kind)),
        matcher.score(texts=["a dog"], images=features.astype(np.float32)),
    )


def test_inputs_are_not_changed(matcher: Matcher) -> None:
    features, (ids, counts) = images(3), texts([3, 8], padding=2)
    before = features.copy(), ids.copy(), counts.copy()
    matcher.score(texts=(ids, counts), images=features)
    for array, kept in zip((features, ids, counts), before, strict=True):
        np.testing.assert_array_equal(array, kept)


@pytest.mark.parametrize("sizes", [(0, 2), (2, 0), (0, 0)])
def test_of_nothing_there_are_no_scores(sizes: tuple[int, int], matcher: Matcher) -> None:
    count, words = sizes
    scores = matcher.score(texts=["a dog"] * words, images=images(count))
    assert scores.shape == sizes
    assert len(matcher.encode_images(images(count))) == count
    assert len(matcher.encode_texts(["a dog"] * words)) == words


def test_two_texts_in_a_tuple_are_texts(matcher: Matcher) -> None:
    np.testing.assert_array_equal(
        matcher.score(texts=("a dog", "a red car"), images=images(2)),
        matcher.score(texts=["a dog", "a red car"], images=images(2)),
    )


def test_one_string_is_not_a_list_of_its_letters(matcher: Matcher) -> None:
    assert "put the text in a list" in refusal(matcher.score, texts="a dog", images=images(1))
    assert "put the text in a list" in refusal(matcher.encode_texts, "a dog")


def test_encoded_items_on_the_wrong_side_are_refused(matcher: Matcher) -> None:
    encoded_images, encoded_texts = matcher.encode_images(images(1)), matcher.encode_texts(["dog"])
    message = refusal(matcher.score, texts=encoded_images, images=encoded_images)
    assert "texts= was given encoded images" in message
    message = refusal(matcher.score, texts=encoded_texts, images=encoded_texts)
    assert "images= was given encoded texts" in message


@pytest.mark.parametrize("place", [0, 63, 64, 129])
def test_the_image_that_holds_nan_is_named_across_batches(place: int, matcher: Matcher) -> None:
    features = images(130)
    features[place, 2, 7] = np.nan
    assert f"regions of image {place} hold NaN" in refusal(matcher.encode_images, features)
    for some in (matcher, frugal(matcher, 100_000)):
        message = refusal(some.score, texts=["a dog"], images=features)
        assert f"regions of image {place} hold NaN" in message


@pytest.mark.parametrize(
    ("features", "words"),
    [
        (np.zeros((2, 3)), "expected 3 axes"),
        (np.zeros((2, 3, WIDTH + 1)), f"takes {WIDTH}"),
        (np.zeros((2, 0, WIDTH)), "0 regions"),
        (np.zeros((2, 3, WIDTH), int), "int64"),
    ],
)
def test_regions_that_do_not_fit_are_refused(
    features: np.ndarray, words: str, matcher: Matcher
) -> None:
    assert words in refusal(matcher.encode_images, features)
    assert words in refusal(matcher.score, texts=["a dog"], images=features)


@pytest.mark.parametrize(
    ("ids", "lengths", "words"),
    [
        ([[1, 4, 2]], [4], "4 tokens"),
        ([[1, 4, 2]], [0], "0 tokens"),
        ([[1, 40, 2]], [3], "token id 40"),
        ([[1, -4, 2]], [3], "token id -4"),
        ([[1.0, 4.0, 2.0]], [3], "float64"),
        ([1, 4, 2], [3], "[3]"),
        ([[1] * 257], [257], "257 tokens"),
    ],
)
def test_token_ids_that_do_not_fit_are_refused(
    ids: list, lengths: list, words: str, matcher: Matcher
) -> None:
    assert words in refusal(matcher.encode_token_ids, ids, lengths)
    given_texts = np.array(ids), np.array(lengths)
    assert words in refusal(matcher.score, texts=given_texts, images=images(1))


@pytest.mark.parametrize("text", ["", "  ", None, 3])
def test_texts_that_are_none_are_refused_by_their_number(text: Any, matcher: Matcher) -> None:
    assert "text 1" in refusal(matcher.encode_texts, ["a dog", text])


def test_the_longest_text_that_is_allowed_is_scored(matcher: Matcher) -> None:
    scores = matcher.score(texts=["dog " * 254, "dog"], images=images(2))
    assert np.isfinite(scores).all()


def test_threads_get_the_scores_of_a_single_one(matcher: Matcher) -> None:
    jobs = [(images(4, seed=n), texts([3 + n, 5], seed=n)) for n in range(8)]
    expected = [matcher.score(texts=t, images=i) for i, t in jobs]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda job: matcher.score(texts=job[1], images=job[0]), jobs))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=CLOSE)


def test_stored_bytes_of_an_item_are_those_of_its_tensors(matcher: Matcher) -> None:
    for encoded in (matcher.encode_images(images(1, 7)), matcher.encode_token_ids(*texts([7]))):
        (block,) = encoded.blocks
        held = sum(tensor.nbytes for tensor in block.tensors.values())
        assert matcher.item_bytes(encoded.modality, 7) == held
        assert matcher.item_bytes(encoded.modality, 7, 2) == held // 2


@pytest.mark.parametrize("texts", [{"a dog", "a cat"}, {"a dog": 1}, frozenset(["a dog"])])
def test_texts_without_an_order_are_refused(texts: Any, matcher: Matcher) -> None:
    with pytest.raises(InputError, match="which has no order"):
        matcher.score(texts=texts, images=images(2))


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_matcher_is_loaded_anew_in_every_process(copied: Any, matcher: Matcher) -> None:
    with pytest.raises(UsageError, match="a Matcher cannot be pickled or copied; load it in"):
        copied(matcher)
