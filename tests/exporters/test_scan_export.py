"""SCAN's bundles, run by the runtime, compared with the published program's scores."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from itr_deploy import Gallery, Matcher, Retriever
from itr_deploy.bundle.manifest import StorageType
from itr_deploy.bundle.store import list_files, read_bundle, write_manifest
from itr_deploy.models.scan.checkpoint import load
from tests.support.command import itr_deploy
from tests.support.exports import Bundles
from tests.support.items import names
from tests.support.scan import I2T, LSE, NO_NORMS, ScanCase

pytestmark = pytest.mark.slow

EVERY_CASE = pytest.mark.parametrize(
    "case",
    [
        pytest.param(LSE, id="t2i"),
        pytest.param(I2T, id="i2t"),
        # What is its own is compared in PyTorch too, in tests/models/test_scan.py.
        pytest.param(NO_NORMS, id="t2i without norms", marks=pytest.mark.full),
    ],
)
Load = Callable[..., Matcher]


@EVERY_CASE
def test_scores_of_token_ids_are_the_published_ones(case: ScanCase, load_matcher: Load) -> None:
    texts = (case.token_ids, case.lengths)
    scores = load_matcher(case).score(texts=texts, images=case.regions)
    np.testing.assert_allclose(scores, case.scores, atol=1e-4)


@EVERY_CASE
def test_captions_become_the_published_token_ids(case: ScanCase, load_matcher: Load) -> None:
    ids, lengths = load_matcher(case).text.token_ids(case.captions)
    np.testing.assert_array_equal(ids, case.token_ids)
    np.testing.assert_array_equal(lengths, case.lengths)


def test_a_bundle_lower_cases_as_the_program_does(load_matcher: Load) -> None:
    assert load_matcher(LSE).text.unknown_words("A CAFÉ") == ["cafÉ"]


@EVERY_CASE
def test_encoders_give_the_published_embeddings(case: ScanCase, load_matcher: Load) -> None:
    run = load_matcher(case).backend.run
    images = run("image_encoder", {"regions": case.regions})
    texts = run("text_encoder", {"token_ids": case.token_ids, "text_lengths": case.lengths})
    expected = case.expected
    np.testing.assert_allclose(images["image_regions"], expected["region_embeddings"], atol=1e-5)
    np.testing.assert_allclose(texts["text_words"], expected["word_embeddings"], atol=1e-5)


@EVERY_CASE
@pytest.mark.parametrize(("images", "regions"), [(1, 1), (1, 36), (3, 7), (2, 50)])
def test_any_number_of_images_and_regions_scores_as_in_pytorch(
    case: ScanCase, images: int, regions: int, load_matcher: Load
) -> None:
    features = np.random.default_rng(0).random((images, regions, 32), np.float32)
    scores = load_matcher(case).score(texts=(case.token_ids, case.lengths), images=features)
    np.testing.assert_allclose(scores, plain_scores(case, features, case), atol=1e-5)


def test_a_gallery_of_images_of_any_number_of_regions_scores_as_in_pytorch(
    load_matcher: Load, tmp_path: Path
) -> None:
    matcher, rng = load_matcher(LSE), np.random.default_rng(0)
    images = [rng.random((regions, 32), np.float32) for regions in (36, 1, 50, 20)]
    gallery = Gallery.create(tmp_path / "gallery", matcher, storage="float32", ragged=True)
    gallery.add(names(len(images)), images)
    expected = np.concatenate([plain_scores(LSE, image[None], LSE) for image in images])
    found = matcher.score(texts=LSE.captions, images=images)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    for resident in (True, False):
        retriever = Retriever(matcher, gallery, resident=resident)
        for hits, scores in zip(retriever.search(LSE.captions, k=4), expected.T, strict=True):
            places = [int(name.removeprefix("item")) for name in hits.ids]
            np.testing.assert_allclose(hits.scores, scores[places], atol=1e-5)


@EVERY_CASE
def test_texts_longer_than_what_is_stored_of_their_gram_matrix_score_as_in_pytorch(
    case: ScanCase, load_matcher: Load
) -> None:
    rng, lengths = np.random.default_rng(0), np.array([60, 33, 32, 5])
    ids = rng.integers(4, 48, (4, 60)) * (np.arange(60) < lengths[:, None])
    scores = load_matcher(case).score(texts=(ids, lengths), images=case.regions)
    regions, *texts = map(torch.from_numpy, (case.regions, ids, lengths))
    with torch.inference_mode():
        expected = load(case.checkpoint).plain.score(regions, *texts)
    np.testing.assert_allclose(scores, expected, atol=1e-5)


@torch.inference_mode()
def plain_scores(case: ScanCase, features: np.ndarray, texts: ScanCase) -> np.ndarray:
    """The published computation of a case's model, with another case's captions."""
    given = map(torch.from_numpy, (features, texts.token_ids, texts.lengths))
    return load(case.checkpoint).plain.score(*given).numpy()


@pytest.mark.parametrize(
    ("storage", "tolerance"), [("float32", 1e-5), ("float16", 1e-3), ("int8", 2e-2)]
)
def test_a_gallery_of_texts_with_their_gram_matrices_scores_as_published(
    storage: StorageType, tolerance: float, load_matcher: Load, tmp_path: Path
) -> None:
    matcher = load_matcher(I2T)
    gallery = Gallery.create(tmp_path / "gallery", matcher, modality="text", storage=storage)
    gallery.add(names(len(I2T.captions)), I2T.captions)
    for resident in (True, False):
        retriever = Retriever(matcher, gallery, resident=resident)
        hits = retriever.search(image=I2T.regions[0], k=len(I2T.captions), candidates=None)
        places = [int(name.removeprefix("item")) for name in hits.ids]
        np.testing.assert_allclose(hits.scores, I2T.scores[0, places], atol=tolerance)


@pytest.fixture(scope="module")
def other_way(bundles: Bundles, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The image-to-text model's bundle, with the words of the text-to-image model."""
    copy = Path(shutil.copytree(bundles.path(I2T), tmp_path_factory.mktemp("i2t") / "bundle"))
    shutil.copy(bundles.path(LSE) / "vocab.json", copy)
    manifest = read_bundle(bundles.path(I2T)).manifest
    write_manifest(copy, manifest.model_copy(update={"files": list_files(copy)}))
    return copy


def test_the_two_models_mean_is_an_ensemble(
    other_way: Path, bundles: Bundles, tmp_path: Path
) -> None:
    made = itr_deploy("ensemble", bundles.path(LSE), other_way, "--output", tmp_path / "both")
    assert made.code == 0, made.err
    scores = Matcher.load(tmp_path / "both").score(
        texts=(LSE.token_ids, LSE.lengths), images=LSE.regions
    )
    expected = (LSE.scores + plain_scores(I2T, LSE.regions, LSE)) / 2
    np.testing.assert_allclose(scores, expected, atol=1e-5)
