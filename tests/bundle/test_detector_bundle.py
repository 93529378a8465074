"""A region detector's bundle is checked as a matcher's is, and neither is taken for the other."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from itr_deploy.bundle.detector import Proposals
from itr_deploy.bundle.detector_consistency import check_detector
from itr_deploy.bundle.store import (
    MANIFEST,
    Bundle,
    DetectorBundle,
    is_only_a_bundle,
    list_files,
    read_any_bundle,
    read_bundle,
    read_detector_bundle,
    write_manifest,
)
from itr_deploy.errors import BundleError


@pytest.fixture
def copy(detector_bundle: Path, tmp_path: Path) -> Path:
    """A detector's bundle to damage."""
    return Path(shutil.copytree(detector_bundle, tmp_path / "detector"))


def rewrite(root: Path, **changes: Any) -> None:
    manifest = read_detector_bundle(root).manifest
    write_manifest(root, manifest.model_copy(update=changes))


def refusal(root: Path) -> str:
    with pytest.raises(BundleError) as caught:
        check_detector(read_detector_bundle(root))
    assert str(root) in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_is_written_is_read_back(detector_bundle: Path) -> None:
    opened = read_detector_bundle(detector_bundle)
    check_detector(opened)
    assert isinstance(opened, DetectorBundle)
    assert opened.manifest.graphs.keys() == {"detector", "regions"}
    assert opened.manifest.files.keys() == list_files(detector_bundle).keys()
    assert is_only_a_bundle(detector_bundle)


def test_either_kind_is_opened_where_both_are_of_use(detector_bundle: Path, small: Path) -> None:
    assert isinstance(read_any_bundle(detector_bundle), DetectorBundle)
    assert isinstance(read_any_bundle(small), Bundle)


def test_one_kind_in_place_of_the_other_is_told(detector_bundle: Path, small: Path) -> None:
    with pytest.raises(BundleError) as caught:
        read_bundle(detector_bundle)
    assert str(caught.value) == (
        f"{detector_bundle}: the bundle of a region detector, and a matcher's is needed here; give "
        "this one as detector= (--detector) beside it, or open it with itr_deploy.Detector.load"
    )
    assert "bundle of a matcher, imram, and a region detector's" in refusal(small)


@pytest.mark.parametrize("name", ["graphs/detector.onnx", "graphs/regions.onnx", MANIFEST])
def test_a_changed_file_is_noticed(name: str, copy: Path) -> None:
    path = copy / name
    content = path.read_bytes()
    path.write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
    assert Path(name).name in refusal(copy)


def test_a_missing_graph_is_named(copy: Path) -> None:
    (copy / "graphs/regions.onnx").unlink()
    assert "graphs/regions.onnx is missing" in refusal(copy)


def graphs_of(root: Path, part: str, side: str, name: str, **changes: Any) -> dict[str, Any]:
    """The graphs with an input or an output that is another."""
    graphs = read_detector_bundle(root).manifest.graphs
    entries = getattr(graphs[part], side)
    own = [e.model_copy(update=changes) if e.name == name else e for e in entries]
    return {**graphs, part: graphs[part].model_copy(update={side: tuple(own)})}


def test_a_manifest_that_contradicts_itself_is_refused(copy: Path) -> None:
    manifest = read_detector_bundle(copy).manifest
    selection = manifest.selection
    for changes, told in (
        ({"graphs": {"detector": manifest.graphs["detector"]}}, "there is no graph 'regions'"),
        ({"feature_dim": 9}, "has an output 'features' of float32 [regions, 8]"),
        ({"classes": 7}, "has an output 'class_probabilities' of float32 [regions, 7]"),
        ({"attributes": None}, "has an output 'attribute_probabilities', which a detector"),
        ({"dialect": "frcnn-vg", "attributes": 6}, "graphs/regions.onnx has no output 'deltas'"),
        (
            {"graphs": graphs_of(copy, "regions", "inputs", "boxes", shape=("regions", 5))},
            "graphs/regions.onnx has an input 'boxes' of float32 [regions, 5]",
        ),
        (
            {"graphs": graphs_of(copy, "detector", "outputs", "res4", dtype="float16")},
            "has an output 'res4' of float16",
        ),
        (
            {"selection": selection.model_copy(update={"min_boxes": 50, "max_boxes": 40})},
            "at least 50 regions and at most 40",
        ),
        (
            {"selection": selection.model_copy(update={"confidence": None})},
            "the selection is not one of bua-caffe",
        ),
    ):
        write_manifest(copy, manifest.model_copy(update=changes))
        assert told in refusal(copy)


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"dialect": "yolo"}, "dialect"),
        ({"anchors": ()}, "anchors"),
        ({"chunk": 0}, "chunk"),
        ({"sides": {"shortest": 600, "longest": 5000}}, "sides.longest"),
        (
            {
                "proposals": Proposals(considered=9, kept=9, overlap=0.7, min_side=0).model_copy(
                    update={"delta_weights": (1.0, 1.0, 0.0, 1.0)}
                )
            },
            "proposals.delta_weights.2",
        ),
        ({"attributes": -1}, "attributes"),
    ],
)
@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
def test_a_value_that_cannot_be_is_named(changes: dict[str, Any], where: str, copy: Path) -> None:
    rewrite(copy, **changes)
    assert f"{MANIFEST}: {where}: " in refusal(copy)
