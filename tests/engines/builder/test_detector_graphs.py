"""A detector's graphs through the real TensorRT for RTX: a small one always, published sizes before
a release."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from benchmarks.detectors import CAFFE_SETTINGS, published_detector, published_network
from itr_deploy.bundle.manifest import Precision
from itr_deploy.bundle.store import read_detector_bundle
from itr_deploy.engines.builder import BuildRequest, build_engines
from itr_deploy.engines.preflight import lint_bundle
from tests.support.exports import Bundles
from tests.support.region_cases import FRCNN_VG

pytest.importorskip("tensorrt_rtx")


def built(place: Path, precision: Precision) -> dict[str, set[str]]:
    """Types of the matrix layers of both engines."""
    bundle = read_detector_bundle(place)
    assert lint_bundle(bundle, "tensorrt-rtx") == []
    request = BuildRequest("tensorrt-rtx", precision=precision)
    engines = build_engines(bundle, request, lambda *step: None).directory.record.engines
    return {name: set(info.matrix_layers) for name, info in engines.items()}


def test_both_graphs_of_a_detector_build(bundles: Bundles, tmp_path: Path) -> None:
    place = Path(shutil.copytree(bundles.path(FRCNN_VG), tmp_path / "detector"))
    assert built(place, "float32") == {"detector": {"float32"}, "regions": {"float32"}}


@pytest.mark.full
@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_both_graphs_build_at_published_sizes(precision: Precision, tmp_path: Path) -> None:
    place = published_detector(published_network(), CAFFE_SETTINGS, tmp_path, precision)
    # What decides an order or an argmax stays float32.
    kinds = {precision, "float32"}
    assert built(place, precision) == {"detector": kinds, "regions": kinds}
