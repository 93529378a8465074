from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest

from itr_deploy.bundle.manifest import Precision
from itr_deploy.engines.builder.build import BuildOptions, Engine, EngineBuilder
from itr_deploy.engines.files import ShapeRange
from itr_deploy.engines.library import import_library
from tests.support.engines import GRAPH, WIDTH

PROFILE = {
    "regions": ShapeRange(min=(1, 1, WIDTH), opt=(4, 36, WIDTH), max=(8, 40, WIDTH)),
}


@pytest.fixture
def build(tmp_path: Path) -> Callable[..., Engine]:
    """Builds a graph's engine with TensorRT for RTX, for one kind of GPU."""

    def built(
        model: onnx.ModelProto,
        precision: Precision = "float32",
        capabilities: tuple[str, ...] = ("8.6",),
        **options: Any,
    ) -> Engine:
        path = tmp_path / f"{GRAPH}.onnx"
        onnx.save(model, path)
        trt = import_library("tensorrt-rtx")
        chosen = BuildOptions(**options)
        builder = EngineBuilder(trt, "tensorrt-rtx", precision, capabilities, False, chosen)
        return builder.build(GRAPH, path, PROFILE, lambda *step: None)

    return built
