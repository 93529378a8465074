"""Engines of the self-test, built in a process of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from itr_deploy.bundle.store import read_bundle
from itr_deploy.engines.builder import BuildRequest, build_engines
from itr_deploy.engines.files import EngineTarget


def build(bundle: str, target: EngineTarget, capability: str) -> dict[str, Any]:
    """Build a bundle's engines; what their layers compute in is proven on the way.

    Args:
        bundle: The bundle's directory.
        target: Whose engines.
        capability: Of the GPU, empty where there is none.

    Returns:
        The number of engines, and their matrix layers by type.
    """
    opened = read_bundle(Path(bundle))
    request = BuildRequest(
        target=target,
        precision=opened.manifest.precision,
        # TensorRT builds for the GPU that is there without being told.
        capabilities=(capability,) if capability and target == "tensorrt-rtx" else (),
    )
    built = build_engines(opened, request, lambda graph, phase, done, total: None)
    layers: dict[str, int] = {}
    for info in built.directory.record.engines.values():
        for kind, count in info.matrix_layers.items():
            layers[kind] = layers.get(kind, 0) + count
    return {"engines": len(built.outcomes), "matrix_layers": layers}
