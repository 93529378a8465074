"""Every graph of every family at its published sizes, through the real TensorRT for RTX."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.published import MATCHERS, RERANKED, published_bundle
from itr_deploy.bundle.manifest import Precision
from itr_deploy.export.engines import BuildRequest, build_engines
from itr_deploy.export.preflight import lint_bundle

pytest.importorskip("tensorrt_rtx")

GRAPHS = {
    "image_encoder",
    "text_encoder",
    "match_text_to_image",
    "match_text_to_image_float32",
    "match_image_to_text",
    "match_image_to_text_float32",
}
PREFILTERS = {graph.replace("match", "prefilter") for graph in GRAPHS if "match" in graph}
RERANKERS = {"rerank_text_to_image", "rerank_image_to_text"}


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "float16"])
@pytest.mark.parametrize("name", MATCHERS)
def test_every_graph_builds_and_its_layers_are_of_its_precision(
    name: str, precision: Precision, tmp_path: Path
) -> None:
    bundle = published_bundle(name, precision, tmp_path)
    further = RERANKERS if name == RERANKED else PREFILTERS if name.startswith("imram") else set()
    assert bundle.manifest.graphs.keys() == GRAPHS | further
    assert lint_bundle(bundle, "tensorrt-rtx") == []
    built = build_engines(bundle, BuildRequest("tensorrt-rtx", precision=precision), no_progress)
    engines = built.directory.record.engines
    assert engines.keys() == bundle.manifest.graphs.keys()
    for graph, info in engines.items():
        assert info.matrix_layers.get(precision, 0) > 0, graph
        assert info.matrix_layers.keys() <= {precision, "float32"}, graph
        # What is kept in float32 is the smaller part.
        assert info.matrix_layers[precision] > sum(info.matrix_layers.values()) / 4, graph


def no_progress(graph: str, phase: str, done: int, total: int) -> None:
    pass
