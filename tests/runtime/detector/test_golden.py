"""What is computed around the two networks equals what the published programs computed there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from itr_deploy.runtime.detector.proposals import proposed
from itr_deploy.runtime.detector.selection import (
    most_probable_attribute,
    most_probable_class,
    selected,
)
from tests.support.region_cases import OTHER, PIXEL, REGION_CASES, RegionCase

every_case = pytest.mark.parametrize("case", REGION_CASES, ids=lambda case: case.name)
every_picture = pytest.mark.parametrize("number", range(3))


def near(found: np.ndarray, expected: np.ndarray, tolerance: float) -> None:
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() < tolerance


@every_case
@every_picture
def test_a_picture_becomes_the_published_input(case: RegionCase, number: int) -> None:
    found = case.prepared(number).image
    whole = case.expected.get(f"image_{number}")
    if whole is None:
        near(found[:, :40, :64], case.expected[f"image_corner_{number}"], OTHER)
    else:
        near(found, whole, OTHER)


@every_case
@every_picture
def test_the_published_scores_give_the_published_proposals(case: RegionCase, number: int) -> None:
    picture = case.prepared(number)
    own = proposed(case.candidates(number), case.manifest, picture.resized, picture.scale)
    near(own.boxes, case.expected[f"proposals_{number}"], PIXEL)
    near(own.scores, case.expected[f"proposal_scores_{number}"], OTHER)


@every_case
@every_picture
@pytest.mark.parametrize("name", ["fixed", "adaptive", "capped"])
def test_the_published_probabilities_give_the_published_regions(
    case: RegionCase, number: int, name: str
) -> None:
    def expected(array: str) -> Any:
        return case.expected[f"{name}_{array}_{number}"]

    judged, picture = case.judged(number), case.prepared(number)
    proposals = case.expected[f"proposals_{number}"]
    own = selected(proposals, judged, picture, case.dialect, case.selection(name))
    near(own.boxes, expected("boxes"), PIXEL)
    near(judged.features[own.proposals], expected("features"), OTHER)
    classes = most_probable_class(judged.classes[own.proposals], case.dialect)
    attributes = most_probable_attribute(judged.attributes[own.proposals], case.dialect)
    np.testing.assert_array_equal(classes.numbers, expected("objects_id"))
    np.testing.assert_array_equal(attributes.numbers, expected("attrs_id"))
    near(classes.confidence, expected("objects_conf"), OTHER)
    near(attributes.confidence, expected("attrs_conf"), OTHER)
