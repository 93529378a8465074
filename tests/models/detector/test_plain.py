"""The plain programs compute what the published ones do, from picture files to regions."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from itr_deploy.models.detector.plain import PlainDetector
from itr_deploy.models.detector.plain.boxes import clipped, decoded, kept_apart
from itr_deploy.models.detector.plain.pooling import pooled
from tests.models.detector.conftest import picture
from tests.support.cases import assert_close
from tests.support.region_cases import BUA_CAFFE, FRCNN_VG, OTHER, PIXEL, RegionCase

PICTURES = pytest.mark.parametrize("number", range(3))


def expected(case: RegionCase, name: str, number: int) -> torch.Tensor:
    return torch.from_numpy(case.expected[f"{name}_{number}"])


@PICTURES
def test_a_picture_is_resized_as_published(case: RegionCase, number: int, plain) -> None:
    image = plain(case).prepared(picture(case, number)).image[0]
    if f"image_{number}" in case.expected:
        assert_close(image, expected(case, "image", number), OTHER)
    else:
        assert_close(image[:, :40, :64], expected(case, "image_corner", number), OTHER)


@PICTURES
@torch.inference_mode()
def test_what_is_computed_of_a_picture_is_as_published(
    case: RegionCase, number: int, plain
) -> None:
    program = plain(case)
    dense = program.dense(program.prepared(picture(case, number)).image)
    found = case.candidates(number)
    assert_close(dense.res4[0], expected(case, "res4", number), OTHER)
    assert_close(dense.scores[0], torch.from_numpy(found.scores), OTHER)
    assert_close(dense.deltas[0], torch.from_numpy(found.deltas), OTHER)


@PICTURES
@torch.inference_mode()
def test_proposals_and_what_is_said_of_them_are_as_published(
    case: RegionCase, number: int, plain
) -> None:
    program = plain(case)
    ready = program.prepared(picture(case, number))
    dense = program.dense(ready.image)
    boxes, scores = program.proposals(ready, dense)
    assert_close(boxes, expected(case, "proposals", number), PIXEL)
    assert_close(scores, expected(case, "proposal_scores", number), OTHER)
    heads, judged = program.heads(dense.res4, boxes), case.judged(number)
    assert_close(heads.features, torch.from_numpy(judged.features), OTHER)
    assert_close(heads.classes, torch.from_numpy(judged.classes), OTHER)
    assert judged.attributes is not None
    assert_close(heads.attributes, torch.from_numpy(judged.attributes), OTHER)
    if judged.deltas is not None:
        assert_close(heads.deltas, torch.from_numpy(judged.deltas), OTHER)


@torch.inference_mode()
def test_pooling_is_as_published(case: RegionCase) -> None:
    own = pooled(expected(case, "res4", 0), expected(case, "proposals", 0)[:4])
    assert_close(own, torch.from_numpy(case.expected["roi_pool_0"]), 0)


@PICTURES
@torch.inference_mode()
def test_regions_are_the_published_ones_in_their_order(
    case: RegionCase, number: int, plain
) -> None:
    program = plain(case)
    ready = program.prepared(picture(case, number))
    dense = program.dense(ready.image)
    proposals, _ = program.proposals(ready, dense)
    heads = program.heads(dense.res4, proposals)
    for selection in case.selections:
        program = plain(case, selection)
        found = program.told(heads, program.selected(ready, proposals, heads))
        for name, own, allowed in (
            ("boxes", found.boxes, PIXEL),
            ("features", found.features, OTHER),
            ("objects_id", found.classes, 0),
            ("objects_conf", found.class_scores, OTHER),
            ("attrs_id", found.attributes, 0),
            ("attrs_conf", found.attribute_scores, OTHER),
        ):
            assert_close(own, expected(case, f"{selection}_{name}", number), allowed)


def test_deltas_of_sides_are_capped() -> None:
    boxes = torch.tensor([[0.0, 0.0, 10.0, 10.0]])
    grown = decoded(boxes, torch.tensor([[0.0, 0.0, 9.0, 0.0]]), 0.0, (1, 1, 1, 1))
    assert_close(grown[0, 2] - grown[0, 0], torch.tensor(625.0), 1e-3)


def test_deltas_are_divided_by_their_weights() -> None:
    boxes = torch.tensor([[0.0, 0.0, 10.0, 10.0]])
    moved = decoded(boxes, torch.tensor([[1.0, 2.0, 0.0, 0.0]]), 0.0, (10, 5, 1, 1))
    assert_close(moved, torch.tensor([[1.0, 4.0, 11.0, 14.0]]))


def test_boxes_are_clipped_to_the_last_pixel_in_caffe_alone() -> None:
    boxes = torch.tensor([[-3.0, -3.0, 90.0, 90.0]])
    assert clipped(boxes, (40, 60), 1.0).tolist() == [[0, 0, 59, 39]]
    assert clipped(boxes, (40, 60), 0.0).tolist() == [[0, 0, 60, 40]]


@pytest.mark.parametrize(("extra", "left"), [(1.0, [0]), (0.0, [0, 1])])
def test_an_overlap_of_exactly_the_limit_suppresses_in_caffe_alone(
    extra: float, left: list[int]
) -> None:
    boxes = torch.tensor([[0.0, 0.0, 8.0, 8.0], [0.0, 0.0, 4.0, 8.0]])
    boxes[:, 2:] -= extra
    kept = kept_apart(boxes, torch.tensor([0.9, 0.8]), 0.5, extra)
    assert kept.tolist() == left


def test_of_equal_scores_the_first_is_kept() -> None:
    boxes = torch.tensor([[0.0, 0.0, 8.0, 8.0]]).repeat(3, 1)
    assert kept_apart(boxes, torch.full((3,), 0.5), 0.7, 1.0).tolist() == [0]


def test_a_picture_with_fewer_proposals_than_regions_gives_what_there_is(plain) -> None:
    program = plain(BUA_CAFFE)
    few = program.settings.proposals.model_copy(update={"kept": 5})
    program.settings = replace(program.settings, proposals=few)
    assert len(program.regions(picture(BUA_CAFFE, 0)).boxes) == 5


def test_where_no_overlap_leaves_enough_the_last_counts(plain) -> None:
    program = plain(FRCNN_VG, "capped")
    selection = program.settings.selection.model_copy(
        update={"min_boxes": 50, "max_boxes": 50, "overlaps": (0.5, 0.3)}
    )
    least = selection.model_copy(update={"min_boxes": 1, "overlaps": (0.3,)})
    found, last = (
        PlainDetector(program.network, replace(program.settings, selection=one)).regions(
            picture(FRCNN_VG, 0)
        )
        for one in (selection, least)
    )
    assert torch.equal(found.boxes, last.boxes)
