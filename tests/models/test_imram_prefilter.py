"""IMRAM's prefilter is nearly its first step, its refiner the first two."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from itr_deploy.bundle.modality import PREFILTERS
from itr_deploy.models.contract import DeployedMatcher, Pipeline
from itr_deploy.models.first_norm import FIRST_NORMS
from itr_deploy.models.imram.checkpoint import load
from itr_deploy.models.imram.config import MODES
from itr_deploy.models.imram.deployed import ImramDeployment
from itr_deploy.models.imram.options import ImramOptions
from tests.models.test_imram import ALL_CASES, PRECOMPUTE, inputs, small_config
from tests.support.golden import Case
from tests.support.imram import random_items, random_model


def prefilter_scores(
    deployed: DeployedMatcher, regions: torch.Tensor, ids: torch.Tensor, lengths: torch.Tensor
) -> torch.Tensor:
    """All pairs, ``[N, C]``, from the embeddings alone."""
    with torch.inference_mode():
        words, embedded = deployed.encode_texts(ids, lengths)[0], deployed.encode_images(regions)[0]
        return deployed.prefilter([words[None]], lengths[None], [embedded[None]])[0].T


def near_scores(
    deployed: DeployedMatcher, regions: torch.Tensor, ids: torch.Tensor, lengths: torch.Tensor
) -> np.ndarray:
    """The first step's score, each attended vector taken as of length 1 where its rows are."""
    config = deployed.model.config
    with torch.inference_mode():
        texts = [tensor[None] for tensor in deployed.encode_texts(ids, lengths)[:-1]]
        images = [tensor[None] for tensor in deployed.encode_images(regions)[:-1]]
        _, (weights, _) = deployed.match_and_attend(texts, lengths[None], images)
    total = np.zeros((len(regions), len(ids)))
    for place, step in enumerate(deployed.attention_steps):
        if step.step != 1:
            continue
        for text, length in enumerate(lengths.tolist()):
            for image in range(len(regions)):
                w, r = (x[0, y].numpy() for x, y in ((texts[0], text), (images[0], image)))
                w, given = w[:length], weights[0, text, image, place, :length].numpy()
                if step.attends == "image":
                    w, r, given = r, w, given.T
                attended = given @ r
                unit = config.image_norm if step.attends == "text" else config.text_norm
                dots = (w * attended).sum(1) / np.linalg.norm(w, axis=1)
                dots = dots if unit else dots / np.linalg.norm(attended, axis=1)
                total[image, text] += dots.mean()
    return total


@PRECOMPUTE
@ALL_CASES
def test_it_is_the_first_step_but_for_the_lengths_of_attended_vectors(
    case: Case, precompute: str
) -> None:
    deployed = load(case.checkpoint, ImramOptions(precompute=precompute)).deployed
    found = prefilter_scores(deployed, *inputs(case))
    np.testing.assert_allclose(found, near_scores(deployed, *inputs(case)), atol=1e-5)


@pytest.mark.parametrize("attention_norm", FIRST_NORMS)
@pytest.mark.parametrize("mode", MODES)
def test_so_it_is_in_every_mode_and_norm(mode: str, attention_norm: str) -> None:
    config = small_config(mode=mode, attention_norm=attention_norm)
    deployed = ImramDeployment(random_model(config), "full")
    items = random_items(config, images=3, regions=4, lengths=[5, 2, 3], padding=2)
    np.testing.assert_allclose(
        prefilter_scores(deployed, *items), near_scores(deployed, *items), atol=1e-9
    )


@pytest.mark.parametrize("norm", ["image_norm", "text_norm"])
def test_where_rows_are_not_of_length_one_it_is_the_plain_models_first_step(norm: str) -> None:
    mode = "text_IMRAM" if norm == "image_norm" else "image_IMRAM"
    config = small_config(mode=mode, **{norm: False})
    model = random_model(config)
    items = random_items(config, images=3, regions=4, lengths=[5, 2, 3], padding=2)
    with torch.inference_mode():
        first = sum(steps[0] for steps in model.step_scores(*items).values())
    np.testing.assert_allclose(
        prefilter_scores(ImramDeployment(model, "full"), *items), first, atol=1e-5
    )


@pytest.mark.parametrize("mode", MODES)
def test_it_reads_no_projection_of_a_memory_unit(mode: str) -> None:
    deployed = ImramDeployment(random_model(small_config(mode=mode)), "full")
    assert deployed.prefilter_image_tensors == ("regions",)
    assert deployed.prefilter_text_tensors == ("words",)


def test_a_model_of_one_step_has_none() -> None:
    deployed = ImramDeployment(random_model(small_config(steps=1)), "full")
    assert deployed.prefilter_image_tensors == deployed.prefilter_text_tensors == ()
    assert deployed.refine_image_tensors == deployed.refine_text_tensors == ()
    assert deployed.pipeline == Pipeline()


@PRECOMPUTE
@pytest.mark.parametrize("steps", [3, 5])
@pytest.mark.parametrize("mode", MODES)
def test_the_refiner_takes_every_later_step_for_the_second(
    mode: str, steps: int, precompute: str
) -> None:
    config = small_config(mode=mode, steps=steps)
    model = random_model(config)
    deployed = ImramDeployment(model, precompute)
    regions, ids, lengths = random_items(config, 3, 4, [5, 2, 3], padding=2)
    with torch.inference_mode():
        texts = [tensor[None] for tensor in deployed.encode_texts(ids, lengths)[:-1]]
        images = [tensor[None] for tensor in deployed.encode_images(regions)[:-1]]
        found = deployed.refine(texts, lengths[None], images)[0].T
        by_step = model.step_scores(regions, ids, lengths).values()
    expected = prefilter_scores(deployed, regions, ids, lengths)
    expected = expected + sum((steps - 1) * given[1] for given in by_step)
    np.testing.assert_allclose(found, expected, atol=2e-6)
    assert len(deployed.refine_image_tensors) == len(images)
    assert len(deployed.refine_text_tensors) == len(texts)


def test_a_model_of_two_steps_has_a_prefilter_and_no_refiner() -> None:
    deployed = ImramDeployment(random_model(small_config(steps=2)), "full")
    assert deployed.prefilter_image_tensors
    assert deployed.refine_image_tensors == deployed.refine_text_tensors == ()
    assert deployed.pipeline.refine is deployed.pipeline.image_query_refine is None


def test_by_default_each_reads_a_wider_shortlist_than_the_next() -> None:
    pipeline = ImramDeployment(random_model(small_config()), "full").pipeline
    for query in PREFILTERS:
        prefilter, refiner = pipeline.prefilter_width(query), pipeline.refine_width(query)
        matcher = pipeline.width(query)
        assert prefilter is not None
        assert refiner is not None
        assert matcher is not None
        assert prefilter > refiner > matcher >= 10
