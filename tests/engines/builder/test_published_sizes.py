"""Every graph of every family at its published sizes, through the real TensorRT for RTX."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from benchmarks.published import MATCHERS, RERANKED, published_bundle
from itr_deploy.bundle.manifest import Precision
from itr_deploy.engines.builder import BuildRequest, build_engines
from itr_deploy.engines.files import built_by_default
from itr_deploy.engines.preflight import lint_bundle

pytest.importorskip("tensorrt_rtx")

GRAPHS = {
    "image_encoder",
    "text_encoder",
    "match_text_to_image",
    "match_text_to_image_float32",
    "match_image_to_text",
    "match_image_to_text_float32",
}
MATCHING = {name for name in GRAPHS if name.startswith("match_")}
PREFILTERS = {name.replace("match", "prefilter") for name in MATCHING}
REFINERS = {name.replace("match", "refine") for name in MATCHING}
RERANKERS = {"rerank_text_to_image", "rerank_image_to_text"}
FURTHER: dict[str, set[str]] = {
    RERANKED: RERANKERS,
    **{f"imram-{mode}": PREFILTERS | REFINERS for mode in ("text", "image", "full")},
    "sgraf-saf": set(),
    "sgraf-sgr": set(),
    "scan-t2i": set(),
    "scan-i2t": set(),
}
"""What there is besides `GRAPHS`, where that is not a prefilter."""
ENCODERS = {"image_encoder", "text_encoder"}
IN_FLOAT32 = {
    # The first layers of the encoders, which decide most of a score's error.
    "imram-text": ENCODERS,
    "imram-image": ENCODERS,
    "imram-full": ENCODERS,
    # Routers, and the guiding side's embeddings; unbounded relations and self-attention.
    "dime-i2t": {*ENCODERS, *MATCHING, *PREFILTERS},
    "dime-t2i": {*ENCODERS, *MATCHING, *PREFILTERS},
    "lhsc": ENCODERS,
    # What decides the edges of SGR's graph, which no norm bounds.
    "sgraf-sgr": MATCHING,
    # The encoders, which the attention amplifies, and the lengths of attended vectors.
    "scan-t2i": {*ENCODERS, *MATCHING},
    "scan-i2t": {*ENCODERS, *MATCHING},
}
"""Graphs with products that half precision would break."""

WHOLLY_FLOAT32 = {
    "scan-t2i": ENCODERS,
    "scan-i2t": ENCODERS,
    "vsrn": {"image_encoder"},
}
"""Graphs that have no other products."""

PUSHED = {("imram-image", "float16")}
"""What every push builds; a release builds all."""

BUILDS = [
    pytest.param(
        name,
        precision,
        id=f"{name}-{precision}",
        marks=pytest.mark.slow if (name, precision) in PUSHED else pytest.mark.full,
    )
    for name, precision in itertools.product(MATCHERS, ("float32", "float16"))
]


@pytest.mark.parametrize(("name", "precision"), BUILDS)
def test_every_graph_builds_and_its_layers_are_of_its_precision(
    name: str, precision: Precision, tmp_path: Path
) -> None:
    bundle = published_bundle(name, precision, tmp_path)
    further = FURTHER.get(name, PREFILTERS)
    expected = ENCODERS if bundle.manifest.is_dual_encoder else GRAPHS | further
    assert set(built_by_default(bundle.manifest)) == expected
    assert lint_bundle(bundle, "tensorrt-rtx") == []
    built = build_engines(bundle, BuildRequest("tensorrt-rtx", precision=precision), no_progress)
    engines = built.directory.record.engines
    assert engines.keys() == expected
    for graph, info in engines.items():
        if graph in WHOLLY_FLOAT32.get(name, ()):
            assert info.matrix_layers.keys() == {"float32"}, graph
            continue
        assert info.matrix_layers.get(precision, 0) > 0, graph
        kept = {"float32"} if graph in IN_FLOAT32.get(name, ()) else set()
        assert info.matrix_layers.keys() == {precision, *kept}, graph


def no_progress(graph: str, phase: str, done: int, total: int) -> None:
    pass
