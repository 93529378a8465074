"""Both graphs' modules compute what is published, before they are traced."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from itr_deploy.models.detector.deployed import EvenPooling, graphs_of
from itr_deploy.models.detector.network import NormedConvolution
from itr_deploy.models.folding import normed_convolution
from tests.models.detector.conftest import picture
from tests.support.cases import assert_close, random_norms
from tests.support.region_cases import BUA_CAFFE, OTHER, RegionCase


@torch.inference_mode()
def test_the_modules_of_both_graphs_compute_what_is_published(case: RegionCase, plain) -> None:
    program = plain(case)
    detector, regions = graphs_of(program.network, case.sides.longest)
    image = program.prepared(picture(case, 0)).image
    res4, scores, deltas = detector(image)
    found, judged = case.candidates(0), case.judged(0)
    assert_close(res4[0], torch.from_numpy(case.expected["res4_0"]), OTHER)
    assert_close(scores[0], torch.from_numpy(found.scores), OTHER)
    assert_close(deltas[0], torch.from_numpy(found.deltas), OTHER)
    outputs = regions(res4, torch.from_numpy(case.expected["proposals_0"]))
    for own, expected in zip(outputs, filter(lambda one: one is not None, judged), strict=True):
        assert_close(own, torch.from_numpy(expected), OTHER)


def test_no_normalisation_is_left(plain) -> None:
    for graph in graphs_of(plain(BUA_CAFFE).network, 272):
        kinds = {type(module) for module in graph.modules()}
        assert nn.BatchNorm2d not in kinds
        assert NormedConvolution not in kinds


@pytest.mark.parametrize("sides", [(3, 4), (5, 6), (300, 401), (37, 500)])
def test_an_added_row_pools_as_ceil_mode_does(sides: tuple[int, int]) -> None:
    x = torch.rand(1, 2, *sides)
    published = nn.MaxPool2d(3, 2, ceil_mode=True)
    assert torch.equal(EvenPooling()(x), published(x))


@torch.inference_mode()
def test_folded_norms_compute_what_they_were_folded_from() -> None:
    layer = NormedConvolution(3, 5, 3, padding=2, dilation=2).eval()
    random_norms(layer)
    x = torch.rand(2, 3, 7, 9)
    assert_close(normed_convolution(layer, layer.norm)(x), layer(x))
