from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from itr_deploy import Matcher
from itr_deploy.benchmarking.random_items import RandomItems
from itr_deploy.errors import BundleError
from itr_deploy.runtime.encoding.checks import NotFiniteError


def test_captions_are_8_to_16_words_that_the_model_knows(matcher: Matcher) -> None:
    texts = RandomItems(matcher).captions(50)
    assert {len(text.split()) for text in texts} <= set(range(8, 17))
    assert len(set(texts)) == 50
    assert not any(matcher.text.unknown_words(text) for text in texts)


def test_captions_keep_to_the_length_that_the_model_takes(matcher: Matcher) -> None:
    texts = matcher.bundle.manifest.texts.model_copy(update={"max_tokens": 7})
    manifest = matcher.bundle.manifest.model_copy(update={"texts": texts})
    short: Any = SimpleNamespace(
        bundle=SimpleNamespace(manifest=manifest),
        text=matcher.text,
        encode_images=matcher.encode_images,
    )
    assert {len(text.split()) for text in RandomItems(short).captions(5)} == {5}


def test_regions_have_the_bundles_sizes(matcher: Matcher) -> None:
    regions = RandomItems(matcher).regions(3)
    assert regions.shape == (3, 36, matcher.bundle.manifest.images.feature_dim)
    assert regions.dtype == np.float32


def test_regions_are_smaller_where_the_model_would_overflow(matcher: Matcher) -> None:
    def overflowing(regions: np.ndarray) -> None:
        if float(np.abs(regions).max()) >= 1:
            raise NotFiniteError("the model overflows")

    small: Any = SimpleNamespace(
        bundle=matcher.bundle, text=matcher.text, encode_images=overflowing
    )
    assert float(np.abs(RandomItems(small).regions(8)).max()) < 1


def test_a_vocabulary_without_words_is_refused(matcher: Matcher) -> None:
    empty: Any = SimpleNamespace(bundle=matcher.bundle, text=SimpleNamespace(words=[]))
    with pytest.raises(BundleError, match="no word to make queries of"):
        RandomItems(empty)
