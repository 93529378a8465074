"""Detectors' files as people have them, and what is refused."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from itr_deploy.models.detector.checkpoint import ANCHORS, HEAD, PREDICTOR, STEM, read_network
from tests.models.detector.conftest import picture
from tests.support.cases import refusal
from tests.support.region_cases import BUA_CAFFE, FRCNN_VG, RegionCase, cell_anchors

State = dict[str, torch.Tensor]


def state_of(case: RegionCase) -> State:
    content = torch.load(case.checkpoint, weights_only=True)
    return dict(content.get("model", content))


def test_sizes_are_those_of_the_weights(case: RegionCase) -> None:
    config = read_network(case.checkpoint).config
    expected = case.manifest
    assert config.dialect == case.dialect
    assert [stage.blocks for stage in config.stages] == [3, 4, 6]
    assert config.feature_dim == expected.feature_dim
    assert config.classes == expected.classes
    assert config.attribute_count == expected.attributes
    np.testing.assert_allclose(config.anchors, cell_anchors(case.dialect), atol=1e-4)
    assert config.described()["anchors"] == "12 a cell of 16 pixels"


def saved_bare(state: State, path: Path) -> None:
    torch.save(state, path)


def saved_wrapped(state: State, path: Path) -> None:
    wrapped = {f"module.{key}": value for key, value in state.items()}
    torch.save({"model": wrapped, "iteration": 7}, path)


def saved_old(state: State, path: Path) -> None:
    torch.save({"model": state}, path, _use_new_zipfile_serialization=False)


def saved_as_arrays(state: State, path: Path) -> None:
    torch.save({"model": {key: value.numpy() for key, value in state.items()}}, path)


def saved_as_pickle(state: State, path: Path) -> None:
    arrays = {key: value.numpy() for key, value in state.items()}
    path.write_bytes(pickle.dumps({"model": arrays, "__author__": "Caffe"}, 2))


@pytest.mark.parametrize(
    ("save", "name"),
    [
        (saved_bare, "pytorch_model.bin"),
        (saved_wrapped, "model.pth"),
        (saved_old, "model.pth"),
        (saved_as_arrays, "model.pth"),
        (saved_as_pickle, "faster_rcnn_from_caffe_attr.pkl"),
    ],
)
def test_every_container_gives_the_same_weights(
    save: Callable[[State, Path], None], name: str, case: RegionCase, tmp_path: Path
) -> None:
    save(state_of(case), tmp_path / name)
    expected = read_network(case.checkpoint).state_dict()
    found = read_network(tmp_path / name).state_dict()
    assert all(torch.equal(found[key], value) for key, value in expected.items())


def test_a_detector_without_attributes_tells_none(case: RegionCase, plain, tmp_path: Path) -> None:
    known = ("cls_score", "bbox_pred")
    own = {
        key: value
        for key, value in state_of(case).items()
        if not key.startswith(PREDICTOR) or any(name in key for name in known)
    }
    torch.save(own, tmp_path / "model.pth")
    network = read_network(tmp_path / "model.pth")
    assert network.config.attributes is None
    assert network.config.described()["attributes"] == "none"
    program = plain(case)
    program.network, program.config = network, network.config
    found = program.regions(picture(case, 2))
    assert found.attributes is None
    assert torch.equal(found.boxes, plain(case).regions(picture(case, 2)).boxes)


def test_caffes_deltas_of_classes_may_be_missing(tmp_path: Path) -> None:
    own = {key: value for key, value in state_of(BUA_CAFFE).items() if "bbox_pred" not in key}
    torch.save({"model": own}, tmp_path / "model.pth")
    read_network(tmp_path / "model.pth")


def without(key: str) -> Callable[[State], object]:
    return lambda state: state.pop(key)


def changed(key: str, change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[State], object]:
    return lambda state: state.update({key: change(state[key])})


def added(key: str, value: torch.Tensor) -> Callable[[State], object]:
    return lambda state: state.update({key: value})


BLOCK = "backbone.res4.2.conv2"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (without(STEM), "not a region detector's checkpoint: no backbone.stem.conv1.weight"),
        (without(ANCHORS), "the anchors are a part of the weights"),
        (without(f"{BLOCK}.norm.running_var"), f"missing ['{BLOCK}.norm.running_var']"),
        (without(f"{PREDICTOR}.attr_linear1.weight"), "attr_linear1.weight"),
        (changed(f"{BLOCK}.weight", lambda w: w[:, :-1]), "the others say [16, 16, 3, 3]"),
        (changed(ANCHORS, lambda w: w[:-1]), "24 rows for 11 anchors"),
        (changed(ANCHORS, lambda w: w.repeat(2, 1)), "cls_embed.weight is bua-caffe's"),
        (changed(ANCHORS, lambda w: w * torch.nan), "finite numbers"),
        (changed(f"{PREDICTOR}.bbox_pred.weight", lambda w: w[:-4]), "148 rows; 38 class scores"),
        (changed(f"{BLOCK}.weight", lambda w: w * torch.inf), "holds NaN or infinity"),
        (added("pixel_mean", torch.tensor([103.53, 116.28, 123.675])), "another network"),
        (added("backbone.res4.2.conv4.weight", torch.zeros(1)), "unknown"),
        (lambda state: state.clear(), "begin with 'nothing'"),
    ],
)
def test_another_network_is_refused_in_one_line(
    change: Callable[[State], object], said: str, tmp_path: Path
) -> None:
    state = state_of(BUA_CAFFE)
    change(state)
    assert said in refusal(read_network, {"model": state}, tmp_path)


def test_published_means_may_be_among_the_weights(tmp_path: Path) -> None:
    state = state_of(FRCNN_VG)
    state["pixel_mean"] = torch.tensor([102.9801, 115.9465, 122.7717]).reshape(3, 1, 1)
    torch.save(state, tmp_path / "model.bin")
    read_network(tmp_path / "model.bin")


@pytest.mark.parametrize("content", [{"model": [1, 2]}, {"a": 1}, [torch.zeros(1)]])
def test_what_is_no_state_dict_is_refused(content: Any, tmp_path: Path) -> None:
    refusal(read_network, content, tmp_path)


def test_half_precision_weights_are_read(tmp_path: Path) -> None:
    state = {k: v.half() if v.is_floating_point() else v for k, v in state_of(FRCNN_VG).items()}
    torch.save(state, tmp_path / "model.bin")
    assert read_network(tmp_path / "model.bin").backbone.stem.conv1.weight.dtype == torch.float32


def test_the_objectness_head_decides_the_dialect(tmp_path: Path) -> None:
    state = state_of(BUA_CAFFE)
    for part in ("weight", "bias"):
        state[f"{HEAD}.objectness_logits.{part}"] = state[f"{HEAD}.objectness_logits.{part}"][:12]
    assert "it is another network" in refusal(read_network, {"model": state}, tmp_path)
