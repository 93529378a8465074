"""What the verbs for bundles do with a region detector's."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import itr_deploy as library
from itr_deploy.bundle.store import read_detector_bundle
from itr_deploy.engines.shapes import Overrides, profile_of
from itr_deploy.errors import BundleError, UsageError
from tests.support.command import itr_deploy
from tests.support.engines import RTX


def test_inspect_shows_dialect_settings_and_graphs(detector_bundle: Path) -> None:
    shown = library.inspect(detector_bundle, verify=True)
    assert (shown["kind"], shown["dialect"], shown["image_dim"]) == ("detector", "bua-caffe", 8)
    assert shown["selection"]["max_boxes"] == 36
    assert [graph["name"] for graph in shown["graphs"]] == ["detector", "regions"]
    assert shown["verified"]["files"] == 2
    outcome = itr_deploy("inspect", detector_bundle)
    assert outcome.code == 0
    assert "bua-caffe" in outcome.out


@pytest.mark.parametrize("verb", ["search", "evaluate", "tune", "bench"])
def test_a_verb_for_matchers_says_what_it_was_given(verb: str, detector_bundle: Path) -> None:
    options = {
        "search": ("a dog", "--gallery", "g"),
        "bench": ("--synthetic", 10),
        "evaluate": ("--data", "d", "--output", "o"),
        "tune": ("--data", "d"),
    }
    outcome = itr_deploy(verb, detector_bundle, *options.get(verb, ()))
    assert outcome.code == 1
    assert "the bundle of a region detector, and a matcher's is needed here" in outcome.err


def test_profiles_follow_the_sides_and_the_chunk(detector_bundle: Path) -> None:
    manifest = read_detector_bundle(detector_bundle).manifest
    sides = manifest.sides.model_copy(update={"shortest": 600, "longest": 1000})
    manifest = manifest.model_copy(update={"sides": sides, "chunk": 50})
    image = profile_of(manifest, "detector", Overrides())["image"]
    assert (image.min, image.opt, image.max) == (
        (1, 3, 3, 3),
        (1, 3, 600, 800),
        (4, 3, 1000, 1000),
    )
    regions = profile_of(manifest, "regions", Overrides(max={"regions": 100}))
    assert regions["boxes"].min == (1, 4)
    assert regions["boxes"].opt == (50, 4)
    assert regions["boxes"].max == (100, 4)
    assert regions["res4"].min[2:] == (1, 1)
    assert regions["res4"].opt[2:] == (38, 50)
    assert regions["res4"].max[2:] == (63, 63)


@RTX
def test_a_detectors_graphs_are_checked_and_built(detector_bundle: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(detector_bundle, tmp_path / "detector"))
    checked = library.check(copy, target="tensorrt-rtx")
    assert (checked.graphs, checked.findings) == (2, ())
    built = library.build_engine(copy, target="tensorrt-rtx", max_shapes={"batch": 2})
    assert built.outcomes == {"detector": "built", "regions": "built"}
    with pytest.raises(UsageError, match="no axis 'words'; the graphs have batch, col"):
        library.build_engine(copy, target="tensorrt-rtx", max_shapes={"words": 2})
    with pytest.raises(BundleError, match="its graphs are float32"):
        library.build_engine(copy, target="tensorrt-rtx", precision="float16")
