"""The exported bundles, run by the runtime, compared with the published program's scores."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from itr_deploy import Matcher
from itr_deploy.bundle.manifest import StorageType
from itr_deploy.bundle.modality import MATCHERS, PREFILTERS
from itr_deploy.models.imram.checkpoint import load
from tests.support.golden import FULL, IMAGE, TEXT, Case

EVERY_EXPORT = pytest.mark.parametrize(
    ("case", "options"),
    [
        pytest.param(FULL, (), id="full"),
        pytest.param(IMAGE, (), id="image", marks=pytest.mark.slow),
        pytest.param(TEXT, (), id="text", marks=pytest.mark.slow),
        pytest.param(IMAGE, ("--precompute", "none"), id="image-none", marks=pytest.mark.slow),
    ],
)
Load = Callable[..., Matcher]


@EVERY_EXPORT
def test_scores_of_token_ids_are_the_published_ones(
    case: Case, options: tuple[str, ...], load_matcher: Load
) -> None:
    scores = load_matcher(case, *options).score(
        texts=(case.token_ids, case.lengths), images=case.regions
    )
    assert scores.shape == case.scores.shape
    np.testing.assert_allclose(scores, case.scores, atol=1e-4)


@EVERY_EXPORT
def test_captions_as_text_score_as_their_token_ids(
    case: Case, options: tuple[str, ...], load_matcher: Load
) -> None:
    scores = load_matcher(case, *options).score(texts=case.captions, images=case.regions)
    np.testing.assert_allclose(scores, case.scores, atol=1e-4)


@EVERY_EXPORT
def test_encoders_give_the_published_embeddings(
    case: Case, options: tuple[str, ...], load_matcher: Load
) -> None:
    run = load_matcher(case, *options).backend.run
    images = run("image_encoder", {"regions": case.regions})
    texts = run("text_encoder", {"token_ids": case.token_ids, "text_lengths": case.lengths})
    np.testing.assert_allclose(
        images["image_regions"], case.expected["region_embeddings"], atol=1e-5
    )
    np.testing.assert_allclose(texts["text_words"], case.expected["word_embeddings"], atol=1e-5)


@EVERY_EXPORT
@pytest.mark.parametrize(("storage", "tolerance"), [("float32", 1e-4), ("float16", 1e-2)])
def test_graphs_take_far_more_padding_than_the_example_and_stay_exact(
    case: Case,
    options: tuple[str, ...],
    storage: StorageType,
    tolerance: float,
    load_matcher: Load,
) -> None:
    matcher = load_matcher(case, *options)
    run, manifest = matcher.backend.run, matcher.bundle.manifest
    ids = np.pad(case.token_ids, ((0, 0), (0, 40)))
    images = run("image_encoder", {"regions": case.regions})
    texts = run("text_encoder", {"token_ids": ids, "text_lengths": case.lengths})
    words = texts["text_words"]
    assert (words[np.arange(ids.shape[1]) >= case.lengths[:, None]] == 0).all()

    names = [f"text_{spec.name}" for spec in manifest.texts.tensors]
    gallery = [f"image_{spec.name}" for spec in manifest.images.tensors]
    common = {"candidates": np.arange(len(case.regions))[None], "text_lengths": case.lengths}
    to_image = run(
        manifest.graph("match_text_to_image", storage),
        {
            **common,
            **{name: texts[name] for name in names},
            **{name: images[name].astype(storage) for name in gallery},
        },
    )["scores"]
    common["candidates"] = np.arange(len(ids))[None]
    to_text = run(
        manifest.graph("match_image_to_text", storage),
        {
            **common,
            **{name: texts[name].astype(storage) for name in names},
            **{name: images[name] for name in gallery},
        },
    )["scores"]
    np.testing.assert_allclose(to_image.T, case.scores, atol=tolerance)
    np.testing.assert_allclose(to_text, case.scores, atol=tolerance)


@EVERY_EXPORT
@pytest.mark.parametrize(("storage", "tolerance"), [("float32", 1e-4), ("float16", 1e-2)])
def test_prefilter_and_refiner_score_as_in_pytorch_and_of_the_published_steps(
    case: Case,
    options: tuple[str, ...],
    storage: StorageType,
    tolerance: float,
    load_matcher: Load,
) -> None:
    matcher = load_matcher(case, *options)
    assert matcher.prefilter is not None
    deployed = load(case.checkpoint).deployed
    with torch.inference_mode():
        ids, lengths = torch.from_numpy(case.token_ids), torch.from_numpy(case.lengths)
        words = deployed.encode_texts(ids, lengths)[:1]
        regions = deployed.encode_images(torch.from_numpy(case.regions))[:1]
        near = deployed.prefilter([words[0][None]], lengths[None], [regions[0][None]])[0].T
    parts = [(matcher.prefilter, near.numpy())]
    steps = [v for name, v in case.expected.items() if name.startswith("step_scores_")]
    assert (matcher.refiner is not None) == (len(steps[0]) > 2)
    if matcher.refiner is not None:
        later = sum((len(v) - 1) * v[1] for v in steps)
        parts.append((matcher.refiner, near.numpy() + later))
    texts = matcher.encode_token_ids(case.token_ids, case.lengths)
    images = matcher.encode_images(case.regions)
    for scorer, expected in parts:
        to_images = scorer.score_all(texts, images.stored_as(storage))
        to_texts = scorer.score_all(images, texts.stored_as(storage))
        np.testing.assert_allclose(to_images.T, expected, atol=tolerance)
        np.testing.assert_allclose(to_texts, expected, atol=tolerance)


@EVERY_EXPORT
def test_regions_and_words_of_zero_length_give_finite_scores(
    case: Case, options: tuple[str, ...], load_matcher: Load
) -> None:
    """The guards against division by zero survive the exporter's optimiser."""
    matcher = load_matcher(case, *options)
    run, manifest = matcher.backend.run, matcher.bundle.manifest
    inputs = {
        f"image_{s.name}": np.zeros((2, 3, s.width), np.float32) for s in manifest.images.tensors
    }
    inputs |= {
        f"text_{s.name}": np.zeros((2, 4, s.width), np.float32) for s in manifest.texts.tensors
    }
    inputs |= {"candidates": np.array([[0, 1]]), "text_lengths": np.array([4, 1])}
    for role in (*MATCHERS.values(), *PREFILTERS.values()):
        name = manifest.graph(role, "float32")
        read = [given.name for given in manifest.graphs[name].inputs]
        scores = run(name, {given: inputs[given] for given in read})["scores"]
        assert np.isfinite(scores).all()
        np.testing.assert_allclose(scores, 0, atol=1e-6)
