from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from itr_deploy.bundle.store import read_bundle
from itr_deploy.engines.files import ShapeRange
from itr_deploy.errors import EngineError
from itr_deploy.model_repository.encoders import (
    ENCODERS,
    encoder_config,
    first_item,
    plans_of,
    write_encoder,
)
from itr_deploy.model_repository.settings import Settings
from tests.support.dime import GATES, I2T
from tests.support.duals import GRID, export_words
from tests.support.exports import Bundles
from tests.support.files import tree

ON_A_GPU = Settings(Path("bundle"), Path("gallery"), "cuda", 8, 2, 64, 10.0, 1000, 30.0)
ON_A_CPU = Settings(Path("bundle"), Path("gallery"), "cpu", 8, 2, 64, 10.0, 1000, 30.0)


def shapes(bundle: Path, name: str) -> dict[str, object]:
    """What a configuration says of every input's axes behind that of the batch."""
    inputs = encoder_config(read_bundle(bundle), name, ON_A_CPU, None)["input"]
    return {entry["name"]: (entry["data_type"], entry["dims"]) for entry in inputs}


def test_a_number_of_an_item_is_reshaped(bundle: Path) -> None:
    """Triton has no item without an axis."""
    inputs = encoder_config(read_bundle(bundle), "text_encoder", ON_A_CPU, None)["input"]
    (lengths,) = [entry for entry in inputs if entry["name"] == "text_lengths"]
    assert lengths["dims"] == [1]
    assert lengths["reshape"] == {"shape": []}


def test_sizes_that_a_model_fixes_are_fixed(bundles: Bundles) -> None:
    found = shapes(bundles.path(I2T, *GATES), "text_encoder")
    assert found["token_ids"] == ("TYPE_INT64", [12])


def test_a_model_of_pixels_takes_pictures(bundles: Bundles) -> None:
    ((kind, dims),) = shapes(bundles.of(*export_words(GRID)), "image_encoder").values()
    assert (kind, dims) == ("TYPE_UINT8", [-1, -1, 3])


def test_graphs_lie_beside_their_weights(bundle: Path, tmp_path: Path) -> None:
    opened = read_bundle(bundle)
    for name in ENCODERS:
        assert write_encoder(tmp_path, name, opened, ON_A_CPU) == "onnxruntime"
        version = tree(tmp_path / name / "1")
        assert version == {
            "model.onnx": opened.manifest.files[f"graphs/{name}.onnx"].sha256,
            "weights.bin": opened.manifest.files["graphs/weights.bin"].sha256,
        }


def test_what_warms_up_an_encoder_is_what_it_takes(bundle: Path, matcher) -> None:
    opened = read_bundle(bundle)
    for name in ENCODERS:
        told = first_item(opened, name).inputs
        graph = opened.manifest.graphs[name]
        assert told.keys() == {info.name for info in graph.inputs}
        for entry in encoder_config(opened, name, ON_A_CPU, None)["input"]:
            given = told[entry["name"]]
            assert given["data_type"] == entry["data_type"]
            for size, known in zip(given["dims"], entry["dims"], strict=True):
                assert known in (-1, size)


def test_engines_of_tensorrt_are_plans_by_compute_capability(
    bundle_copy: Path, tmp_path: Path, with_plans: Callable[[Path], Path]
) -> None:
    with_plans(bundle_copy)
    opened = read_bundle(bundle_copy)
    assert write_encoder(tmp_path, "image_encoder", opened, ON_A_GPU) == "tensorrt"
    assert write_encoder(tmp_path, "text_encoder", opened, ON_A_GPU) == "onnxruntime"
    made = tmp_path / "image_encoder"
    assert tree(made / "1").keys() == {"model_sm80.plan", "model_sm86.plan"}
    config = (made / "config.pbtxt").read_text()
    assert "max_batch_size: 8\n" in config  # the engine's
    assert 'cc_model_filenames {\n  key: "8.6"\n  value: "model_sm86.plan"\n}\n' in config
    assert "kind: KIND_GPU" in config


def test_on_a_cpu_no_engine_is_taken(
    bundle_copy: Path, tmp_path: Path, with_plans: Callable[[Path], Path]
) -> None:
    with_plans(bundle_copy)
    opened = read_bundle(bundle_copy)
    assert write_encoder(tmp_path, "image_encoder", opened, ON_A_CPU) == "onnxruntime"


@pytest.mark.parametrize("differing", [{"target": "tensorrt-rtx"}, {"graph_sha256": "0" * 64}])
def test_other_engines_are_no_plans(
    bundle_copy: Path, with_plans: Callable[..., Path], differing: dict[str, str]
) -> None:
    with_plans(bundle_copy, **differing)
    assert plans_of(read_bundle(bundle_copy), "image_encoder") is None


def test_a_damaged_engine_is_refused(bundle_copy: Path, with_plans: Callable[..., Path]) -> None:
    (with_plans(bundle_copy) / "image_encoder.engine").write_bytes(b"another")
    with pytest.raises(EngineError, match="does not match its checksum"):
        plans_of(read_bundle(bundle_copy), "image_encoder")


def test_an_engine_that_takes_no_single_item_is_refused(
    bundle_copy: Path, with_plans: Callable[..., Path]
) -> None:
    sizes = ShapeRange(min=(2, 36, 32), opt=(4, 36, 32), max=(8, 36, 32))
    with_plans(bundle_copy, profile={"regions": sizes})
    with pytest.raises(EngineError, match="takes 2 items or more"):
        plans_of(read_bundle(bundle_copy), "image_encoder")
