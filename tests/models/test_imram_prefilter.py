"""IMRAM's prefilter is the published first step."""

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


@PRECOMPUTE
@ALL_CASES
def test_it_is_the_published_score_of_the_first_step(case: Case, precompute: str) -> None:
    deployed = load(case.checkpoint, ImramOptions(precompute=precompute)).deployed
    first = sum(
        values[0] for name, values in case.expected.items() if name.startswith("step_scores_")
    )
    np.testing.assert_allclose(prefilter_scores(deployed, *inputs(case)), first, atol=1e-5)


@pytest.mark.parametrize("attention_norm", FIRST_NORMS)
@pytest.mark.parametrize("mode", MODES)
def test_in_every_mode_and_norm_it_is_the_plain_models_first_step(
    mode: str, attention_norm: str
) -> None:
    config = small_config(mode=mode, attention_norm=attention_norm)
    model = random_model(config)
    items = random_items(config, images=3, regions=4, lengths=[5, 2, 3], padding=2)
    with torch.inference_mode():
        first = sum(steps[0] for steps in model.step_scores(*items).values())
    found = prefilter_scores(ImramDeployment(model, "full"), *items)
    np.testing.assert_allclose(found, first, atol=1e-5)


@pytest.mark.parametrize("mode", MODES)
def test_it_reads_no_projection_of_a_memory_unit(mode: str) -> None:
    deployed = ImramDeployment(random_model(small_config(mode=mode)), "full")
    assert deployed.prefilter_image_tensors == ("regions",)
    assert deployed.prefilter_text_tensors == ("words",)


def test_a_model_of_one_step_has_none() -> None:
    deployed = ImramDeployment(random_model(small_config(steps=1)), "full")
    assert deployed.prefilter_image_tensors == deployed.prefilter_text_tensors == ()
    assert deployed.pipeline == Pipeline()


def test_by_default_it_reads_a_wider_shortlist_than_the_matcher() -> None:
    pipeline = ImramDeployment(random_model(small_config()), "full").pipeline
    for query in PREFILTERS:
        prefilter, matcher = pipeline.prefilter_width(query), pipeline.width(query)
        assert prefilter is not None
        assert matcher is not None
        assert prefilter > matcher
