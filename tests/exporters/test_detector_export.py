"""A detector's bundle, exported by the command, gives the published regions from picture files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import itr_deploy
from itr_deploy import Detector
from itr_deploy.bundle.files import sha256_of
from itr_deploy.bundle.store import PARITY, read_detector_bundle, write_manifest
from itr_deploy.errors import (
    BundleError,
    CheckpointError,
    InputError,
    OutputError,
    ParityError,
    UsageError,
)
from itr_deploy.exporters.detector import DetectorSource
from itr_deploy.runtime.backends import OnnxRuntimeBackend
from tests.support.exports import Bundles
from tests.support.region_cases import (
    BUA_CAFFE,
    FRCNN_VG,
    OTHER,
    PIXEL,
    REGION_CASES,
    RegionCase,
)

EACH = pytest.mark.parametrize("case", REGION_CASES, ids=lambda case: case.name)


@EACH
def test_the_graphs_compute_what_is_published(case: RegionCase, bundles: Bundles) -> None:
    backend = OnnxRuntimeBackend(read_detector_bundle(bundles.path(case)))
    for number in range(3):
        dense = backend.run("detector", {"image": case.prepared(number).image[None]})
        found, judged = case.candidates(number), case.judged(number)
        near(dense["res4"][0], case.expected[f"res4_{number}"])
        near(dense["scores"][0], found.scores)
        near(dense["deltas"][0], found.deltas)
        boxes = case.expected[f"proposals_{number}"]
        regions = backend.run("regions", {"res4": dense["res4"], "boxes": boxes})
        near(regions["features"], judged.features)
        near(regions["class_probabilities"], judged.classes)
        near(regions["attribute_probabilities"], judged.attributes)
        if judged.deltas is not None:
            near(regions["deltas"], judged.deltas)


@EACH
def test_picture_files_give_the_published_regions(
    case: RegionCase, bundles: Bundles, tmp_path: Path
) -> None:
    for selection in case.selections:
        copy = Path(shutil.copytree(bundles.path(case), tmp_path / selection))
        chosen = {"selection": case.selection(selection)}
        write_manifest(copy, read_detector_bundle(copy).manifest.model_copy(update=chosen))
        for number, found in enumerate(Detector.load(copy).detect(case.pictures)):
            for name, own, allowed in (
                ("boxes", found.boxes, PIXEL),
                ("features", found.features, OTHER),
                ("objects_id", found.classes, 0),
                ("objects_conf", found.class_confidence, OTHER),
                ("attrs_id", found.attributes, 0),
                ("attrs_conf", found.attribute_confidence, OTHER),
            ):
                near(own, case.expected[f"{selection}_{name}_{number}"], allowed)


def near(own: Any, expected: np.ndarray, allowed: float = OTHER) -> None:
    assert own.shape == expected.shape
    np.testing.assert_allclose(own, expected, rtol=0, atol=allowed)


@EACH
def test_a_bundle_has_the_settings_of_its_export(case: RegionCase, bundles: Bundles) -> None:
    manifest = read_detector_bundle(bundles.path(case)).manifest
    expected = case.manifest
    assert manifest.dialect == case.dialect
    assert (manifest.sides, manifest.proposals) == (expected.sides, expected.proposals)
    assert (manifest.classes, manifest.attributes) == (expected.classes, expected.attributes)
    assert (manifest.feature_dim, manifest.stride) == (expected.feature_dim, expected.stride)
    np.testing.assert_allclose(manifest.anchors, expected.anchors, atol=1e-4)
    assert (manifest.selection.min_boxes, manifest.selection.max_boxes) == (36, 36)


@EACH
def test_the_report_says_what_was_compared(case: RegionCase, bundles: Bundles) -> None:
    report = json.loads((bundles.path(case) / PARITY).read_bytes())
    assert report["passed"]
    names = {entry["name"] for entry in report["outputs"]}
    assert names >= {"res4", "scores", "deltas", "features", "regions not found again, share"}


@pytest.fixture
def copied(bundles: Bundles, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exports take the graphs of the Caffe case's bundle; the gate compares as usual."""

    def copy(source: DetectorSource, root: Path, **options: Any) -> Any:
        shutil.copytree(bundles.path(BUA_CAFFE), root, dirs_exist_ok=True)
        (root / PARITY).unlink()
        manifest = read_detector_bundle(root).manifest
        own = {"checkpoint_sha256": sha256_of(source.checkpoint)}
        provenance = manifest.provenance.model_copy(update=own)
        manifest = manifest.model_copy(update={"provenance": provenance})
        write_manifest(root, manifest)
        return manifest

    monkeypatch.setattr("itr_deploy.exporters.detector.build_detector", copy)


SETTINGS = {"shortest_side": 176, "longest_side": 272, "considered": 76, "proposals": 54}


@pytest.mark.usefixtures("copied")
def test_graphs_that_differ_from_the_checkpoint_make_no_bundle(tmp_path: Path) -> None:
    content = torch.load(BUA_CAFFE.checkpoint, weights_only=True)
    content["model"]["backbone.res4.1.conv2.weight"] *= 1.02
    torch.save(content, tmp_path / "model.pth")
    output = tmp_path / "detector"
    with pytest.raises(ParityError, match="first res4"):
        itr_deploy.export_regions(checkpoint=tmp_path / "model.pth", output=output, **SETTINGS)
    assert not output.exists()


@pytest.mark.usefixtures("copied")
def test_a_picture_of_ones_own_is_compared_on(tmp_path: Path) -> None:
    made = itr_deploy.export_regions(
        checkpoint=BUA_CAFFE.checkpoint,
        output=tmp_path / "detector",
        picture=BUA_CAFFE.pictures[2],
        **SETTINGS,
    )
    assert made.report.passed
    assert made.report.outputs[0].samples == ("a map of 5 x 17",)
    assert made.described["dialect"] == "bua-caffe"
    assert made.described["regions"] == "36 a picture, apart by 0.3, confident from 0.2"


@pytest.mark.usefixtures("copied")
def test_a_picture_in_which_nothing_is_proposed_compares_nothing(tmp_path: Path) -> None:
    Image.new("RGB", (1000, 3)).save(tmp_path / "thin.png")
    with pytest.raises(InputError, match="nothing is proposed in the picture of 1000 x 3") as told:
        itr_deploy.export_regions(
            checkpoint=BUA_CAFFE.checkpoint,
            output=tmp_path / "detector",
            picture=tmp_path / "thin.png",
            **{**SETTINGS, "longest_side": 1000},
        )
    assert "--picture" in str(told.value)
    assert not (tmp_path / "detector").exists()


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"checkpoint": FRCNN_VG.checkpoint}, UsageError, "--config"),
        ({"config": FRCNN_VG.folder / "config.yaml"}, InputError, "no MODEL in it"),
        ({"checkpoint": BUA_CAFFE.pictures[0]}, CheckpointError, "a picture"),
        ({"picture": BUA_CAFFE.checkpoint}, InputError, "picture"),
        ({"boxes": (9, 3)}, UsageError, "boxes="),
        ({"proposals": 0}, UsageError, "proposals=0"),
        ({"shortest_side": 5}, UsageError, "shortest_side=5"),
        ({"dtype": "int8"}, UsageError, "dtype='int8'"),
        ({"output": BUA_CAFFE.folder}, OutputError, "exists"),
    ],
)
def test_bad_input_ends_in_one_line_before_any_graph(
    options: dict[str, Any],
    error: type[Exception],
    said: str,
    tmp_path: Path,
) -> None:
    given = {"checkpoint": BUA_CAFFE.checkpoint, "output": tmp_path / "detector", **options}
    with pytest.raises(error, match=said) as caught:
        itr_deploy.export_regions(**given)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "detector").exists()


def test_a_manifest_that_is_not_the_networks_is_not_compared(
    bundles: Bundles, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(bundles.path(BUA_CAFFE), tmp_path / "detector"))
    manifest = read_detector_bundle(copy).manifest
    write_manifest(copy, manifest.model_copy(update={"classes": manifest.classes + 1}))
    with pytest.raises(BundleError, match="has an output 'class_probabilities'"):
        itr_deploy.verify(copy, checkpoint=BUA_CAFFE.checkpoint)
    # As if the other dialect's bundle had been made of this checkpoint.
    other = Path(shutil.copytree(bundles.path(FRCNN_VG), tmp_path / "other"))
    changed = read_detector_bundle(other).manifest.model_copy(
        update={"provenance": manifest.provenance}
    )
    write_manifest(other, changed)
    with pytest.raises(BundleError, match=r"is of frcnn-vg, and .*\.pth of bua-caffe; export"):
        itr_deploy.verify(other, checkpoint=BUA_CAFFE.checkpoint)


def test_a_bundle_is_verified_again(bundles: Bundles, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(bundles.path(BUA_CAFFE), tmp_path / "detector"))
    (copy / PARITY).unlink()
    assert itr_deploy.verify(copy, checkpoint=BUA_CAFFE.checkpoint).passed
    assert (copy / PARITY).is_file()
    with pytest.raises(CheckpointError, match=r"not the checkpoint of .*detector, which was made"):
        itr_deploy.verify(copy, checkpoint=FRCNN_VG.checkpoint)
    with pytest.raises(UsageError, match=r"compared on a made picture .*\(--tolerance"):
        itr_deploy.verify(copy, checkpoint=BUA_CAFFE.checkpoint, tolerance=1e-3)
