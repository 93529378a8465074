"""One engine from one graph, by the real builder of TensorRT for RTX."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from itr_deploy.engines.builder.build import BuildOptions, Engine, EngineBuilder
from itr_deploy.engines.files import ShapeRange
from itr_deploy.engines.library import import_library
from itr_deploy.errors import EngineError
from tests.engines.builder.conftest import PROFILE
from tests.support.command import python
from tests.support.engines import GRAPH, RTX, WIDTH, GraphMaker

pytestmark = RTX
Build = Callable[..., Engine]

BUILD = """
import sys
from pathlib import Path
from itr_deploy.engines.files import ShapeRange
from itr_deploy.errors import EngineError
from itr_deploy.engines.builder.build import BuildOptions, EngineBuilder
from itr_deploy.engines.library import import_library
trt = import_library("tensorrt-rtx")
builder = EngineBuilder(trt, "tensorrt-rtx", "float32", ("8.6",), False, BuildOptions())
profile = {"regions": ShapeRange(min=(1, 1, 32), opt=(4, 36, 32), max=(8, 40, 32))}
try:
    engine = builder.build("g", Path(sys.argv[1]), profile, lambda *step: None)
    print(engine.matrix_layers)
except EngineError as error:
    print(error)
"""


def test_an_engine_knows_its_layers_and_how_long_it_took(build: Build) -> None:
    engine = build(GraphMaker().linear().linear().model())
    assert engine.matrix_layers == {"float32": 2}
    assert engine.layers >= 2
    assert engine.seconds > 0
    assert len(engine.plan) > 1000


@pytest.mark.parametrize(
    "options",
    [
        {"optimization_level": 0},
        {"workspace": 64 << 20},
        {"hardware_compatibility": "ampere-plus"},
        {"hardware_compatibility": "same-compute-capability"},
        {"version_compatible": True},
        {"capabilities": ("8.0", "8.6", "8.9", "12.0")},
    ],
    ids=lambda options: next(iter(options)),
)
def test_every_option_builds(build: Build, options: dict[str, object]) -> None:
    assert build(GraphMaker().linear().model(), **options).matrix_layers == {"float32": 1}


def test_a_builder_tells_its_phases(tmp_path: Path) -> None:
    onnx.save(GraphMaker().linear().model(), tmp_path / "g.onnx")
    trt = import_library("tensorrt-rtx")
    builder = EngineBuilder(trt, "tensorrt-rtx", "float32", ("8.6",), False, BuildOptions())
    told: list[tuple[str, int, int]] = []
    builder.build("g", tmp_path / "g.onnx", PROFILE, lambda *step: told.append(step))
    phases = {phase for phase, _, _ in told}
    assert "Building engine" in phases
    assert len(phases) > 2
    assert all(0 <= done <= total for _, done, total in told)
    assert told[-1][1] == told[-1][2]


def test_a_refusal_names_node_operator_module_and_the_rule_broken(build: Build) -> None:
    scope = ": a.Root/deployed.model.volume"
    broken = GraphMaker().linear().add("Det", scope=f"{scope}").add("Neg").model()
    with pytest.raises(EngineError) as caught:
        build(broken)
    said, rule = str(caught.value).split("; image_encoder: ")
    assert said.startswith(f"{GRAPH}: Det Det_2 of deployed.model.volume: ")
    assert "refused by tensorrt_rtx 1." in said
    assert said.endswith("[parser]")
    assert rule.startswith("Det Det_2 of deployed.model.volume: operator Det is refused; ")
    assert rule.endswith("[operator]")


def test_without_onnx_and_torch_a_refusal_still_names_node_and_operator(tmp_path: Path) -> None:
    onnx.save(GraphMaker().add("Det").model(), tmp_path / "g.onnx")
    missing = 'import sys; sys.modules["onnx"] = sys.modules["torch"] = None\n'
    outcome = python(missing + BUILD, tmp_path / "g.onnx")
    assert outcome.out.startswith("g: Det Det_0: "), outcome.err
    assert "(refused by tensorrt-rtx 1." in outcome.out


def test_a_build_loads_neither_torch_nor_onnx(tmp_path: Path) -> None:
    onnx.save(GraphMaker().linear().model(), tmp_path / "g.onnx")
    loaded = (
        'print(sorted({"torch", "onnx", "onnxruntime", "itr_deploy.models"} & set(sys.modules)))'
    )
    outcome = python(BUILD + loaded, tmp_path / "g.onnx")
    assert outcome.out == "{'float32': 1}\n[]\n", outcome.err


def test_a_build_that_fails_is_one_line_with_the_librarys_words(build: Build) -> None:
    # RTX has no kernels for float32 products on Turing.
    with pytest.raises(EngineError) as caught:
        build(GraphMaker().linear().model(), capabilities=("7.5",))
    said = str(caught.value)
    assert said.startswith(f"{GRAPH}: tensorrt-rtx 1.")
    assert "cannot build its engine: " in said
    assert "\n" not in said
    assert len(said) < 1200


def test_inputs_that_are_not_the_manifests_are_refused(tmp_path: Path) -> None:
    onnx.save(GraphMaker().linear().model(), tmp_path / "g.onnx")
    trt = import_library("tensorrt-rtx")
    builder = EngineBuilder(trt, "tensorrt-rtx", "float32", ("8.6",), False, BuildOptions())
    other = {"images": ShapeRange(min=(1, WIDTH), opt=(1, WIDTH), max=(1, WIDTH))}
    with pytest.raises(EngineError, match="g: takes regions, the manifest lists images; export"):
        builder.build("g", tmp_path / "g.onnx", other, lambda *step: None)
