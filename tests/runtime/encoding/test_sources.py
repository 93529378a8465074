from __future__ import annotations

import dataclasses

import pytest

from itr_deploy import Matcher
from itr_deploy.errors import InputError
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
