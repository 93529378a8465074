"""The engines of a bundle: what is built, what is left alone, and what an error leaves behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from itr_deploy.bundle.store import is_only_a_bundle, read_bundle
from itr_deploy.engines.builder import BuildRequest, BuiltEngines, build_engines
from itr_deploy.engines.builder import bundle as engines
from itr_deploy.engines.builder.build import BuildOptions
from itr_deploy.engines.cuda import CudaState, Gpu
from itr_deploy.engines.files import RECORD, check_engine_file, engine_directories, graph_digest
from itr_deploy.engines.library import import_library
from itr_deploy.engines.shapes import Overrides
from itr_deploy.errors import BundleError, EngineError, OutputError, SetupError, UsageError
from tests.support.engines import GRAPH, RTX, GraphMaker, put_graph, rewrite_manifest
from tests.support.files import largest_file, tree

pytestmark = RTX
PLACE = "tensorrt-rtx-float32-sm80+sm86+sm89+sm120"


@pytest.fixture
def small(bundle_copy: Path) -> Path:
    """A bundle with one graph that is built in a blink."""
    return put_graph(bundle_copy, GraphMaker().linear().model())


def build(path: Path, **request: Any) -> BuiltEngines:
    chosen = BuildRequest(**{"target": "tensorrt-rtx", **request})
    return build_engines(read_bundle(path), chosen, lambda *step: None)


def test_an_engine_lies_beside_its_record_and_the_bundle_stays_one(small: Path) -> None:
    before = tree(small)
    built = build(small)
    assert built.outcomes == {GRAPH: "built"}
    new = tree(small).keys() - before.keys()
    assert new == {f"engines/{PLACE}/{name}" for name in (f"{GRAPH}.engine", RECORD)}
    assert is_only_a_bundle(small)
    (found,) = engine_directories(read_bundle(small))
    assert found == built.directory
    check_engine_file(found, GRAPH)
    info = found.record.engines[GRAPH]
    assert info.matrix_layers == {"float32": 1}
    made = info.fingerprint
    assert (made.target, made.precision) == ("tensorrt-rtx", "float32")
    assert made.capabilities == ("8.0", "8.6", "8.9", "12.0")
    assert made.graph_sha256 == graph_digest(read_bundle(small), GRAPH)
    assert made.profile["regions"].max == (64, 100, 32)
    json.dumps(built.to_json())


def test_int8_galleries_and_what_explains_are_built_where_they_are_named(bundle_copy: Path) -> None:
    graphs = read_bundle(bundle_copy).manifest.graphs
    usual = {name for name in graphs if not name.endswith("int8")} - {"explain"}
    assert len(usual) < len(graphs) - 1
    assert build(bundle_copy).outcomes.keys() == usual
    named = ("match_text_to_image_int8", "explain")
    built = build(bundle_copy, graphs=named)
    assert built.outcomes == dict.fromkeys(named, "built")
    assert built.directory.record.engines.keys() == usual | {*named}


def test_what_multiplies_bytes_is_for_a_cpu_and_is_not_built(bundle_copy: Path) -> None:
    with pytest.raises(UsageError, match=r"\(--graphs\): it multiplies bytes, .*; leave it out"):
        build(bundle_copy, graphs=("prefilter_text_to_image_uint8",))


def test_nothing_is_built_again_where_nothing_has_changed(small: Path) -> None:
    build(small)
    before = tree(small)
    assert build(small).outcomes == {GRAPH: "up to date"}
    assert tree(small) == before


@pytest.mark.parametrize(
    "request_",
    [
        {"force": True},
        {"shapes": Overrides(max={"batch": 3})},
        {"options": BuildOptions(optimization_level=1)},
        {"options": BuildOptions(version_compatible=True)},
        {"options": BuildOptions(workspace=1 << 26)},
    ],
    ids=["force", "shapes", "level", "version", "workspace"],
)
def test_another_wish_is_another_engine(small: Path, request_: dict[str, Any]) -> None:
    build(small)
    assert build(small, **request_).outcomes == {GRAPH: "built"}


def test_a_changed_graph_is_built_again(small: Path) -> None:
    build(small)
    put_graph(small, GraphMaker().linear().linear().model())
    assert build(small).outcomes == {GRAPH: "built"}


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"x")])
def test_an_engine_that_is_gone_or_damaged_is_built_again(small: Path, damage: Any) -> None:
    file = build(small).directory.file(GRAPH)
    damage(file)
    built = build(small)
    assert built.outcomes == {GRAPH: "built"}
    check_engine_file(built.directory, GRAPH)


def test_a_newer_driver_is_no_reason_to_build_again(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(small)
    monkeypatch.setattr(engines, "probe", lambda: CudaState("99.0", (), "no GPU"))
    assert build(small).outcomes == {GRAPH: "up to date"}


def test_other_gpus_have_a_directory_of_their_own(small: Path) -> None:
    build(small)
    other = build(small, capabilities=("8.9", "8.6"))
    assert other.directory.path.name == "tensorrt-rtx-float32-sm86+sm89"
    plus = build(small, options=BuildOptions(hardware_compatibility="ampere-plus"))
    assert plus.directory.path.name == "tensorrt-rtx-float32-ampere-plus"
    assert len(list(engine_directories(read_bundle(small)))) == 3


def test_graphs_are_chosen_and_the_others_engines_stay(bundle_copy: Path) -> None:
    first = build(bundle_copy, graphs=("image_encoder",))
    assert first.outcomes == {"image_encoder": "built"}
    second = build(bundle_copy, graphs=("text_encoder", "image_encoder"))
    assert second.outcomes == {"text_encoder": "built", "image_encoder": "up to date"}
    assert second.directory.record.engines.keys() == {"image_encoder", "text_encoder"}


def test_a_half_bundle_has_half_engines_in_a_directory_that_says_so(bundle_copy: Path) -> None:
    model = GraphMaker("float16").linear().attention().model()
    built = build(put_graph(bundle_copy, model, "float16"), precision="float16")
    assert built.directory.path.name.startswith("tensorrt-rtx-float16-")
    assert built.directory.record.engines[GRAPH].matrix_layers.keys() == {"float16"}


def test_a_bundle_that_only_claims_to_be_half_leaves_no_engine(small: Path) -> None:
    # As an encoder's it could be float32 throughout.
    graph = (
        read_bundle(small).manifest.graphs[GRAPH].model_copy(update={"role": "match_text_to_image"})
    )
    rewrite_manifest(small, precision="float16", graphs={GRAPH: graph.model_dump()})
    before = tree(small)
    with pytest.raises(EngineError, match="no matrix product of its engine is float16: 1 in float"):
        build(small, precision="float16")
    assert tree(small) == before


def test_an_engine_of_another_precision_than_the_graphs_is_refused(small: Path) -> None:
    with pytest.raises(BundleError) as caught:
        build(small, precision="float16")
    assert str(caught.value) == (
        f"{small}: its graphs are float32; an engine has its graphs' precision: "
        "export it again with dtype='float16' (--dtype float16)"
    )


def test_a_full_disk_leaves_nothing_behind(small: Path) -> None:
    before = tree(small)
    with largest_file(1000), pytest.raises(OutputError) as caught:
        build(small)
    assert f"{GRAPH}.engine: File too large" in str(caught.value)
    assert tree(small) == before


def test_a_full_disk_leaves_the_engine_that_was_there(small: Path) -> None:
    build(small)
    before = tree(small)
    with largest_file(1000), pytest.raises(OutputError):
        build(small, force=True)
    assert tree(small) == before
    assert build(small).outcomes == {GRAPH: "up to date"}


def test_a_record_that_cannot_be_written_leaves_no_engine_without_one(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OutputError("cannot write engines.json: No space left on device")

    before = tree(small)
    monkeypatch.setattr(engines, "write_record", full)
    with pytest.raises(OutputError, match="No space left"):
        build(small)
    assert tree(small) == before


def test_a_graph_that_is_refused_keeps_the_engines_before_it(bundle_copy: Path) -> None:
    broken = GraphMaker().add("Det").model()
    path = bundle_copy / "graphs" / "text_encoder.onnx"
    path.write_bytes(broken.SerializeToString())
    rewrite_manifest(bundle_copy)
    with pytest.raises(EngineError, match="text_encoder: Det Det_0: "):
        build(bundle_copy)
    (found,) = engine_directories(read_bundle(bundle_copy))
    assert found.record.engines.keys() == {"image_encoder"}
    assert build(bundle_copy, graphs=("image_encoder",)).outcomes == {"image_encoder": "up to date"}


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (
            {"graphs": ("images",)},
            r"graphs='images' \(--graphs\): no such graph; .* has image_encoder",
        ),
        ({"capabilities": ("9.1",)}, r"compute_capability='9\.1' .* builds for 7\.5, 8\.0, 8\.6"),
        ({"shapes": Overrides(max={"candidates": 5})}, "no axis 'candidates'; the graphs have bat"),
    ],
)
def test_what_is_not_there_is_refused_with_what_is(
    small: Path, request_: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        build(small, **request_)


class TestTensorRT:
    """TensorRT needs a GPU to build: what is decided before, with the RTX library in its place."""

    @pytest.fixture(autouse=True)
    def library(self, monkeypatch: pytest.MonkeyPatch) -> None:
        rtx = import_library("tensorrt-rtx")
        monkeypatch.setattr(engines, "import_library", lambda target: rtx)

    def test_without_a_gpu_it_says_what_builds_without(
        self, small: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        state = CudaState(None, (), "no CUDA driver: libcuda.so.1")
        monkeypatch.setattr(engines, "probe", lambda: state)
        with pytest.raises(SetupError, match=r"no CUDA driver: libcuda.so.1; target='tensorrt-r"):
            build(small, target="tensorrt")

    def test_it_takes_no_capability(self, small: Path) -> None:
        with pytest.raises(UsageError, match="builds for the GPU that is here"):
            build(small, target="tensorrt", capabilities=("8.6",))

    def test_it_builds_for_the_first_gpu(
        self, small: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        gpus = (Gpu("a", "8.9", 1 << 34), Gpu("b", "8.6", 1 << 34))
        monkeypatch.setattr(engines, "probe", lambda: CudaState("13.0", gpus, None))

        class StoppedError(Exception):
            pass

        def stop(builder: Any, *_: object, **__: object) -> None:
            assert builder.capabilities == ()
            assert builder.has_gpu
            raise StoppedError

        monkeypatch.setattr(engines.EngineBuilder, "build", stop)
        with pytest.raises(StoppedError):
            build(small, target="tensorrt")
