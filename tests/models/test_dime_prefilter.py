"""DIME's prefilter is the published network without its expensive cells."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings

from itr_deploy.models.dime.deployed import DimeDeployment
from itr_deploy.models.dime.plain import Dime
from itr_deploy.models.dime.pruning import pruned
from itr_deploy.models.dime.routes import CMRC, IMRC, PATHS, RIC, Routes
from tests.models.test_dime_routes import DIRECTIONS, inputs, trained, wanted_routes

EVERY = [[[True] * 4 for _ in range(paths)] for paths in PATHS]


def prefilter_scores(
    deployed: DimeDeployment, direction: str, rows: slice, columns: slice
) -> np.ndarray:
    """Scores ``[images, texts]`` of some images with some texts, from what the prefilter reads."""
    regions, ids, lengths = inputs(direction)
    with torch.inference_mode():
        images = deployed.encode_images(regions[rows])[:-1]
        texts = deployed.encode_texts(ids[columns], lengths[columns])[:-1]
        given_images = {
            s.name: t[None] for s, t in zip(deployed.image_tensors, images, strict=True)
        }
        given_texts = {s.name: t[None] for s, t in zip(deployed.text_tensors, texts, strict=True)}
        scores = deployed.prefilter(
            [given_texts[name] for name in deployed.prefilter_text_tensors],
            lengths[columns][None],
            [given_images[name] for name in deployed.prefilter_image_tensors],
        )
    return scores[0].T.numpy()


def published_cheap_part(model: Dime, wanted: list[list[list[bool]]]) -> Dime:
    """The plain model with gates at 0, its first refinement adding nothing to its input."""
    first, middle, last = (tuple(map(tuple, layer)) for layer in wanted)
    middle = tuple(tuple(open_ and c != IMRC for c, open_ in enumerate(row)) for row in middle)
    last = tuple(tuple(open_ and c == RIC for c, open_ in enumerate(row)) for row in last)
    cheap = pruned(model, Routes((first, middle, last))).eval()
    added = cheap.interaction.dynamic_itr_l0.cells[CMRC].refine.fc_2
    with torch.no_grad():
        added.weight.zero_()
        added.bias.zero_()
    return cheap


@pytest.mark.parametrize("direction", DIRECTIONS)
@given(wanted=wanted_routes)
@settings(max_examples=25, deadline=None)
def test_it_is_the_plain_model_without_its_dear_cells_however_that_was_pruned(
    direction: str, wanted: list[list[list[bool]]]
) -> None:
    check(direction, wanted)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_of_the_published_model_it_is_the_same(direction: str) -> None:
    check(direction, EVERY)


def check(direction: str, wanted: list[list[list[bool]]]) -> None:
    model = trained(direction).plain
    assert isinstance(model, Dime)
    with torch.inference_mode():
        expected = published_cheap_part(model, wanted).score(*inputs(direction)).numpy()
    deployed = DimeDeployment(pruned(model, Routes.keeping(wanted)).eval()).eval()
    whole = slice(None)
    found = prefilter_scores(deployed, direction, whole, whole)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_pair_scores_the_same_in_any_company(direction: str) -> None:
    deployed = trained(direction).deployed
    assert isinstance(deployed, DimeDeployment)
    whole = prefilter_scores(deployed, direction, slice(None), slice(None))
    rows, columns = slice(2, 4), slice(1, 4)
    some = prefilter_scores(deployed, direction, rows, columns)
    np.testing.assert_allclose(some, whole[rows, columns], atol=1e-5)
    alone = prefilter_scores(deployed, direction, slice(3, 4), slice(2, 3))
    np.testing.assert_allclose(alone, whole[3:4, 2:3], atol=1e-5)


def test_it_reads_the_maps_of_the_second_layer_alone() -> None:
    guiding = ("local", "scale_1", "shift_1", "vector", "sign")
    refined = ("local", "guided", "reasoned", "routing")
    i2t, t2i = trained("i2t").deployed, trained("t2i").deployed
    assert (i2t.prefilter_text_tensors, i2t.prefilter_image_tensors) == (guiding, refined)
    assert (t2i.prefilter_text_tensors, t2i.prefilter_image_tensors) == (refined, guiding)
