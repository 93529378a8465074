from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from itr_deploy import Matcher
from itr_deploy.errors import InputError
from itr_deploy.runtime.encoding.checks import check_token_ids
from tests.support.items import images, texts


def test_what_another_bundle_encoded_is_refused(matcher: Matcher) -> None:
    encoded = matcher.encode_images(images(2))
    foreign = dataclasses.replace(encoded, encoding_id="f" * 64)
    with pytest.raises(InputError, match="encoded by another bundle"):
        matcher.score(texts=texts([3]), images=foreign)


@pytest.mark.parametrize("given", [5, None])
def test_texts_that_are_no_list_are_refused(given: object, matcher: Matcher) -> None:
    with pytest.raises(InputError, match="expected a list of texts"):
        matcher.encode_texts(given)  # type: ignore[arg-type]


WORDS = st.text(st.sampled_from("abc .,!?'\"()0Aé\n-dogwith<>"), min_size=1, max_size=60)


@given(given=st.lists(WORDS.filter(str.strip), min_size=1, max_size=5))
def test_what_the_text_processing_makes_of_texts_would_pass_the_check_of_token_ids(
    given: list[str], matcher: Matcher
) -> None:
    ids, lengths = matcher.text.token_ids(given)
    checked = check_token_ids(ids, lengths, matcher.bundle.manifest.texts)
    for one, other in zip((ids, lengths), checked, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


def test_a_text_over_the_limit_and_a_token_id_outside_the_vocabulary_are_refused(
    matcher: Matcher,
) -> None:
    about = matcher.bundle.manifest.texts
    with pytest.raises(InputError, match=f"text 1 has .* takes at most {about.max_tokens}, short"):
        matcher.encode_texts(["a dog", "dog " * about.max_tokens])
    with pytest.raises(InputError, match=f"text 0: token id {about.vocab_size} is not in the voc"):
        matcher.encode_token_ids([[1, about.vocab_size, 2]], [3])
