"""Sides, counts and thresholds: published, of a program's yaml, and a user's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from itr_deploy.errors import InputError, UsageError
from itr_deploy.models.detector.settings import Given, settings_of
from tests.support.region_cases import FRCNN_VG

VG = FRCNN_VG.folder / "config.yaml"

CAFFE: dict[str, Any] = {
    "MODEL": {
        "PIXEL_MEAN": [102.9801, 115.9465, 122.7717],
        "ANCHOR_GENERATOR": {"SIZES": [[4, 8, 16, 32]]},
        "PROPOSAL_GENERATOR": {"NAME": "BUARPN", "MIN_SIZE": 12},
        "BUA": {"EXTRACTOR": {"MIN_BOXES": 10, "MAX_BOXES": 100, "CONF_THRESH": 0.4}},
        "RESNETS": {"DEPTH": 101, "RES5_DILATION": 2},
        "RPN": {"PRE_NMS_TOPK_TEST": 5000, "POST_NMS_TOPK_TEST": 200, "NMS_THRESH": 0.6},
        "ROI_HEADS": {"NMS_THRESH_TEST": 0.25},
        "ROI_BOX_HEAD": {"POOLER_TYPE": "ROIPool", "BBOX_REG_WEIGHTS": "(1.0, 1.0, 1.0, 1.0)"},
    },
    "INPUT": {"MIN_SIZE_TEST": 500, "MAX_SIZE_TEST": 900},
}


def changed(content: Any, name: str, value: Any) -> Any:
    """A copy with a value in it, by its dotted name; None takes it away."""
    first, _, rest = name.partition(".")
    own = dict(content)
    if rest:
        own[first] = changed(own.get(first, {}), rest, value)
    elif value is None:
        own.pop(first, None)
    else:
        own[first] = value
    return own


def written(content: Any, tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def test_caffes_settings_are_the_published_ones() -> None:
    found = settings_of("bua-caffe", None, Given())
    assert (found.sides.shortest, found.sides.longest) == (600, 1000)
    assert (found.proposals.considered, found.proposals.kept) == (6000, 300)
    assert (found.proposals.overlap, found.proposals.min_side) == (0.7, 16)
    assert (found.selection.min_boxes, found.selection.max_boxes) == (36, 36)
    assert (found.selection.overlaps, found.selection.confidence) == ((0.3,), 0.2)


def test_caffes_yaml_replaces_them(tmp_path: Path) -> None:
    found = settings_of("bua-caffe", written(CAFFE, tmp_path), Given())
    assert (found.sides.shortest, found.sides.longest) == (500, 900)
    assert (found.proposals.considered, found.proposals.kept) == (5000, 200)
    assert (found.proposals.overlap, found.proposals.min_side) == (0.6, 12)
    assert (found.selection.min_boxes, found.selection.max_boxes) == (10, 100)
    assert (found.selection.overlaps, found.selection.confidence) == ((0.25,), 0.4)


def test_a_yaml_without_a_selection_leaves_36_regions(tmp_path: Path) -> None:
    """As the published one of the fixed 36 does, with which people got 16 or 26."""
    own = changed(CAFFE, "MODEL.BUA.EXTRACTOR", None)
    selection = settings_of("bua-caffe", written(own, tmp_path), Given()).selection
    assert (selection.min_boxes, selection.max_boxes, selection.confidence) == (36, 36, 0.2)


def test_the_ports_settings_are_those_of_its_config() -> None:
    found = settings_of("frcnn-vg", VG, Given())
    assert found.sides == FRCNN_VG.sides
    assert found.proposals == FRCNN_VG.proposals
    assert found.selection.overlaps == (0.5,)
    assert found.selection.delta_weights == (10, 10, 5, 5)


def test_a_list_of_overlaps_is_tried_in_turn(tmp_path: Path) -> None:
    content = changed(yaml.safe_load(VG.read_text()), "roi_heads.nms_thresh_test", [0.3, 0.4])
    content = changed(content, "rpn.nms_thresh", 0.65)
    found = settings_of("frcnn-vg", written(content, tmp_path), Given())
    assert found.selection.overlaps == (0.3, 0.4)
    assert found.proposals.overlap == 0.65


def test_what_a_user_gives_comes_first(tmp_path: Path) -> None:
    given = Given((5, 9), proposals=40, considered=50, shortest_side=100, longest_side=200)
    for found in (
        settings_of("bua-caffe", written(CAFFE, tmp_path), given),
        settings_of("frcnn-vg", VG, given),
    ):
        assert (found.sides.shortest, found.sides.longest) == (100, 200)
        assert (found.proposals.considered, found.proposals.kept) == (50, 40)
        assert (found.selection.min_boxes, found.selection.max_boxes) == (5, 9)


def test_the_port_needs_its_config() -> None:
    with pytest.raises(UsageError, match=r"give config= \(--config config.yaml\)"):
        settings_of("frcnn-vg", None, Given())


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (Given(shortest_side=1200), "shortest_side="),
        (Given(proposals=7000), "considered="),
        (Given(proposals=20), "36 regions .* 20 proposals"),
        (Given(boxes=(301, 400)), "301 regions .* 300 proposals"),
        (Given(boxes=(9, 5)), "the least is above the most"),
    ],
)
def test_what_contradicts_itself_is_refused(given: Given, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        settings_of("bua-caffe", None, given)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("model.max_pool", False, "another network"),
        ("resnets.stride_in_1x1", False, "another network"),
        ("roi_box_head.res5halve", True, "another network"),
        ("roi_box_head.pooler_type", "ROIAlignV2", "another network"),
        ("roi_heads.num_classes", 1600, "roi_heads.num_classes is 1600, and the weights have 23"),
        ("roi_box_head.num_attrs", 400, "roi_box_head.num_attrs is 400, and the weights have 12"),
        ("min_detections", 50, "at least 50 and at most 36"),
        ("model.pixel_mean", [123.675, 116.28, 103.53], "another network"),
        ("model.pixel_std", [57.0, 57.0, 57.0], "another network"),
        ("input.min_size_test", None, "no input.min_size_test"),
        ("rpn.nms_thresh", None, "no rpn.nms_thresh"),
        ("min_detections", None, "no min_detections"),
        ("rpn.nms_thresh", 1.7, "overlap=1.7"),
        ("rpn.bbox_reg_weights", [1, 1], "delta_weights"),
        ("rpn.post_nms_topk_test", "many", "kept='many'"),
        ("model", None, "no model in it"),
    ],
)
def test_another_networks_config_is_refused(
    name: str, value: Any, said: str, tmp_path: Path
) -> None:
    path = written(changed(yaml.safe_load(VG.read_text()), name, value), tmp_path)
    with pytest.raises(InputError) as caught:
        settings_of("frcnn-vg", path, Given(), classes=23, attributes=12)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert said in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MODEL.RESNETS.STRIDE_IN_1X1", False),
        ("MODEL.BUA.RESNET_VERSION", 2),
        ("MODEL.PIXEL_MEAN", [0, 0, 0]),
        ("MODEL.ROI_BOX_HEAD.POOLER_TYPE", "ROIAlignV2"),
        ("_BASE_", "base.yaml"),
    ],
)
def test_caffes_yaml_of_another_network_is_refused(name: str, value: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=name):
        settings_of("bua-caffe", written(changed(CAFFE, name, value), tmp_path), Given())


@pytest.mark.parametrize(
    "content",
    [
        b"- 1\n- 2\n",
        b"a: [",
        b"<html>not found</html>",
        b"\x80\x02}.",
        b"a: !!python/object/apply:os.system ['true']",
        b"",
    ],
)
def test_what_is_no_config_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        settings_of("frcnn-vg", path, Given())
    assert "\n" not in str(caught.value)


def test_a_missing_config_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such config file"):
        settings_of("bua-caffe", tmp_path / "none.yaml", Given())
