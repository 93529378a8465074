"""The dual encoders' golden cases through the public commands."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from itr_deploy import Matcher, Regions
from itr_deploy.bundle.store import read_bundle
from tests.support.cases import GoldenCase
from tests.support.duals import CASES, FULL, GRID, PICTURES, export_words
from tests.support.exports import Bundles


def arrays(case: GoldenCase) -> dict[str, Any]:
    return {name: array.numpy() for name, array in case.inputs.items()}


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(case, id=case.name, marks=[pytest.mark.full] if case in FULL else [])
        for case in CASES
    ],
)
def case(request: pytest.FixtureRequest) -> GoldenCase:
    return request.param


@pytest.fixture(scope="module")
def matcher(case: GoldenCase, bundles: Bundles) -> Matcher:
    return Matcher.load(bundles.of(*export_words(case)))


def test_scores_are_the_published_ones(case: GoldenCase, matcher: Matcher) -> None:
    given = arrays(case)
    places = given.get("boxes"), given.get("img_sizes")
    images: Any = PICTURES
    if case is not GRID:
        images = Regions(given["images"], *places, counts=given.get("image_lengths"))
    expected = case.expected["scores"].numpy()
    scores = matcher.score(texts=case.captions, images=images)
    np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-4)


def test_captions_become_the_published_ids(case: GoldenCase, matcher: Matcher) -> None:
    given = arrays(case)
    ids, lengths = matcher.text.token_ids(case.captions)
    np.testing.assert_array_equal(lengths, given["lengths"])
    np.testing.assert_array_equal(ids, given.get("captions", given.get("input_ids")))


def test_a_product_has_no_matcher_and_the_order_measure_has(
    case: GoldenCase, matcher: Matcher
) -> None:
    manifest = read_bundle(matcher.bundle.path).manifest
    assert manifest.is_dual_encoder == (case.folder.name != "f30k_order_abs")
