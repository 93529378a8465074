from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from PIL import Image

from itr_deploy.models.detector.checkpoint import read_network
from itr_deploy.models.detector.plain import PlainDetector
from itr_deploy.models.detector.settings import Settings
from tests.support.region_cases import REGION_CASES, RegionCase
from tests.support.threads import one_torch_thread


@pytest.fixture(autouse=True, scope="package")
def _one_torch_thread() -> Iterator[None]:
    with one_torch_thread():
        yield


@pytest.fixture(params=REGION_CASES, ids=lambda case: case.name)
def case(request: pytest.FixtureRequest) -> RegionCase:
    return request.param


@pytest.fixture(scope="session")
def plain() -> Callable[..., PlainDetector]:
    """The plain program of a golden case."""
    networks = {one.name: read_network(one.checkpoint) for one in REGION_CASES}

    def make(case: RegionCase, selection: str = "fixed") -> PlainDetector:
        settings = Settings(case.sides, case.proposals, case.selection(selection))
        return PlainDetector(networks[case.name], settings)

    return make


def picture(case: RegionCase, number: int) -> torch.Tensor:
    return torch.from_numpy(np.array(Image.open(case.pictures[number]).convert("RGB")))
