"""RoIPool in ordinary operators is RoIPool."""

from __future__ import annotations

from fractions import Fraction
from math import ceil, floor

import numpy as np
import pytest
import torch

from itr_deploy.models.detector.deployed import LevelledPooling
from itr_deploy.models.detector.plain.pooling import pooled
from itr_deploy.models.detector.pooling_bins import bins_up_to, most_cells


def test_bins_are_exact_fractions_but_for_two_whose_float32_products_are_not() -> None:
    bins = bins_up_to(90)
    odd = set()
    for cells in range(1, 91):
        size = Fraction(cells, 14)
        for place in range(14):
            exact = floor(place * size), ceil((place + 1) * size)
            if exact != (bins.first[cells, place], bins.behind[cells, place]):
                odd.add((cells, place))
    assert odd == {(57, 13), (62, 7)}


@pytest.mark.parametrize(("cells", "most"), [(38, 4), (63, 6), (84, 7)])
def test_a_bin_spans_few_cells(cells: int, most: int) -> None:
    assert bins_up_to(cells).longest == most


def test_a_box_has_at_most_so_many_cells() -> None:
    assert most_cells(1000) == 64


def odd_boxes(height: int, width: int, count: int) -> torch.Tensor:
    """Boxes on half cells, clipped, without an area, and anywhere."""
    rng = np.random.default_rng(height * width)
    high = np.array([width * 16, height * 16], np.float32)
    corners = np.sort(rng.uniform(0, 1.02, (count, 2, 2)).astype(np.float32) * high, axis=1)
    corners[: count // 3] = np.round(corners[: count // 3] / 8) * 8
    corners[count // 3 :: 7] = corners[count // 3 :: 7, :1]
    corners[1::5, 1] = high
    return torch.from_numpy(np.minimum(corners, high).reshape(count, 4))


@pytest.mark.parametrize(
    ("height", "width"),
    [(1, 1), (2, 19), (11, 15), (38, 50), (57, 62), (63, 38), (84, 50), (3, 90)],
)
@torch.inference_mode()
def test_levelled_maps_give_the_published_maxima_bit_for_bit(height: int, width: int) -> None:
    res4 = torch.rand(1, 3, height, width).relu()
    boxes = odd_boxes(height, width, 60)
    found = LevelledPooling(16 * max(height, width))(res4, boxes)
    assert torch.equal(found, pooled(res4[0], boxes))


@pytest.mark.parametrize(("longest", "levels"), [(272, 2), (1000, 3), (1333, 3), (2000, 4)])
def test_the_largest_side_decides_how_many_maps_there_are(longest: int, levels: int) -> None:
    assert LevelledPooling(longest).count == levels


@torch.inference_mode()
def test_a_bin_without_cells_is_0() -> None:
    res4 = torch.ones(1, 2, 4, 4)
    beyond = torch.tensor([[70.0, 0.0, 90.0, 63.0]])
    found = LevelledPooling(128)(res4, beyond)
    assert torch.equal(found, pooled(res4[0], beyond))
    assert not found.any()
