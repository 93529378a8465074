"""SGRAF through the public commands: both modules' scores, their mean, int8."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from itr_deploy import InputError, Matcher
from tests.support.command import itr_deploy
from tests.support.exports import Bundles
from tests.support.sgraf import SAF, SGR, SgrafCase

pytestmark = pytest.mark.slow

EACH = pytest.mark.parametrize(
    "case",
    [
        # LHSC's matcher is SAF's, and is exported on every push.
        pytest.param(SAF, id="saf", marks=pytest.mark.full),
        pytest.param(SGR, id="sgr"),
    ],
)


@EACH
def test_the_bundle_scores_as_published(case: SgrafCase, bundles: Bundles) -> None:
    matcher = Matcher.load(bundles.path(case))
    scores = matcher.score(texts=case.texts, images=case.inputs["images"])
    np.testing.assert_allclose(scores, case.expected["scores"], rtol=0, atol=1e-4)


def test_captions_give_the_published_ids_and_scores(bundles: Bundles) -> None:
    matcher = Matcher.load(bundles.path(SGR))
    ids, lengths = SGR.texts
    found = matcher.text.token_ids(SGR.captions)
    np.testing.assert_array_equal(found[1], lengths)
    np.testing.assert_array_equal(found[0], ids[:, : lengths.max()])
    scores = matcher.score(texts=SGR.captions, images=SGR.inputs["images"])
    np.testing.assert_allclose(scores, SGR.expected["scores"], rtol=0, atol=1e-4)


def test_captions_are_lower_cased_as_bytes(bundles: Bundles) -> None:
    processing = Matcher.load(bundles.path(SGR)).bundle.manifest.text_processing
    assert processing.model_dump()["ascii_case"] is True


@pytest.mark.full
def test_both_modules_make_the_ensemble_that_is_called_sgraf(
    bundles: Bundles, tmp_path: Path
) -> None:
    bundle = tmp_path / "sgraf"
    made = itr_deploy("ensemble", bundles.path(SAF), bundles.path(SGR), "--output", bundle)
    assert made.code == 0, made.err
    scores = Matcher.load(bundle).score(texts=SAF.captions, images=SAF.inputs["images"])
    expected = (SAF.expected["scores"] + SGR.expected["scores"]) / 2
    np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-4)


@EACH
def test_the_manifest_says_what_is_stored(case: SgrafCase, bundles: Bundles) -> None:
    manifest = Matcher.load(bundles.path(case)).bundle.manifest
    assert manifest.images.regions == 36
    stored = [(spec.name, spec.per_position, spec.unit) for spec in manifest.images.tensors]
    assert stored == [("regions", True, True), ("vector", False, True)]
    assert manifest.options["module"] == case.name.upper()


def test_features_of_another_number_of_regions_are_refused(bundles: Bundles) -> None:
    matcher = Matcher.load(bundles.path(SGR))
    with pytest.raises(InputError, match="36") as caught:
        matcher.encode_images(SGR.inputs["images"][:, :35])
    assert "35" in str(caught.value)
