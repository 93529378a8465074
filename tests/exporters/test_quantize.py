"""Bundles whose matchers are int8, made by the public command and run by the runtime."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from itr_deploy import Gallery, Matcher
from itr_deploy.bundle.modality import EXPLAIN
from itr_deploy.bundle.store import PARITY, read_bundle
from itr_deploy.errors import BundleError
from itr_deploy.exporters.graphs import traced_graphs
from itr_deploy.models.registry import DEFAULT_OPSET, Family
from itr_deploy.runtime.backends import open_backend
from tests.families.toys import DUAL, VECTORS, WORDS_ONLY, write_checkpoint
from tests.support.command import itr_deploy
from tests.support.dime import GATES, I2T
from tests.support.exports import Bundles, export
from tests.support.golden import IMAGE
from tests.support.threads import one_torch_thread

INT8 = ("--quantize", "int8")
PRODUCT = "MatMulIntegerToFloat"
TEXTS = (IMAGE.token_ids, IMAGE.lengths)
MATCHERS = ("match_text_to_image", "match_image_to_text")


@pytest.fixture(scope="module")
def quantised(bundles: Bundles) -> Path:
    return bundles.path(IMAGE, *INT8)


@pytest.fixture(scope="module")
def plain(bundles: Bundles) -> Path:
    """The same in float32."""
    return bundles.path(IMAGE)


def model_of(path: Path, graph: str) -> onnx.ModelProto:
    return onnx.load(path / read_bundle(path).manifest.graphs[graph].file)


def operators(path: Path, graph: str) -> Counter[str]:
    return Counter(node.op_type for node in model_of(path, graph).graph.node)


def test_the_matchers_have_integer_products_and_the_encoders_none(quantised: Path) -> None:
    for name, graph in read_bundle(quantised).manifest.graphs.items():
        # A linear and a gate; the last step has none, the first is an encoder's.
        has_steps = graph.role in (*MATCHERS, EXPLAIN)
        assert operators(quantised, name)[PRODUCT] == (2 if has_steps else 0), name


def test_an_explanation_by_rounded_products_is_not_called_exact(quantised: Path) -> None:
    assert not Matcher.load(quantised).explain("a dog", IMAGE.regions[0]).exact


def test_two_products_of_the_same_values_round_them_once(quantised: Path) -> None:
    assert operators(quantised, MATCHERS[0])["QuantizeLinear"] == 1


def test_weights_are_bytes_with_a_scale_for_each_output(quantised: Path) -> None:
    graph = model_of(quantised, MATCHERS[0]).graph
    known = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == PRODUCT:
            levels = numpy_helper.to_array(known[node.input[1]])
            assert levels.dtype == np.int8
            assert np.abs(levels.astype(int)).max(axis=0).tolist() == [127] * levels.shape[1]


def test_the_manifest_says_so_and_galleries_keep_their_encoding(
    quantised: Path, plain: Path
) -> None:
    found, before = read_bundle(quantised).manifest, read_bundle(plain).manifest
    assert (found.precision, found.quantization, before.quantization) == ("float32", "int8", None)
    assert found.encoding_id == before.encoding_id
    assert found.graphs == before.graphs
    assert itr_deploy("inspect", quantised, "--json").json["quantization"] == "int8"


def test_encodings_are_those_of_the_float32_bundle(quantised: Path, plain: Path) -> None:
    inputs = {"regions": IMAGE.regions}
    one, other = (Matcher.load(path).backend.run("image_encoder", inputs) for path in (
        quantised, plain))  # fmt: skip
    assert all(np.array_equal(one[name], other[name]) for name in one)


def test_a_gallery_serves_both(quantised: Path, plain: Path, tmp_path: Path) -> None:
    gallery = Gallery.create(tmp_path / "gallery", Matcher.load(plain))
    gallery.add(list(map(str, range(len(IMAGE.regions)))), IMAGE.regions)
    assert Gallery.open(tmp_path / "gallery", Matcher.load(quantised)).count() == len(IMAGE.regions)


def test_scores_stay_near_the_published_ones(quantised: Path) -> None:
    scores = Matcher.load(quantised).score(texts=TEXTS, images=IMAGE.regions)
    np.testing.assert_allclose(scores, IMAGE.scores, atol=1e-2)
    assert np.abs(scores - IMAGE.scores).max() > 1e-6


def test_a_score_does_not_depend_on_what_is_scored_with_it(quantised: Path) -> None:
    matcher = Matcher.load(quantised)
    images = IMAGE.regions.copy()
    together = matcher.score(texts=TEXTS, images=images)
    # A scale for all of a call would follow the largest value of any of its pairs.
    images[1:] *= 100
    other = matcher.score(texts=TEXTS, images=images)
    np.testing.assert_allclose(other[0], together[0], atol=1e-6)


def test_the_gate_judges_the_scores_and_the_ranks(quantised: Path) -> None:
    report = json.loads((quantised / PARITY).read_bytes())
    tolerances = {entry["name"]: entry["tolerance"] for entry in report["outputs"]}
    assert tolerances["image_regions"] == 1e-4
    assert tolerances["match_text_to_image, float32"] == 1e-2
    assert {entry["keep_within"] for entry in report["ranks"]} == {5}


def test_it_is_verified_again(quantised: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(quantised, tmp_path / "bundle")
    command = ("verify", copy, "--checkpoint", IMAGE.checkpoint)
    with one_torch_thread():
        outcome = itr_deploy(*command)
        missed = itr_deploy(*command, "--tolerance", "1e-7", "--storage-tolerance", "1e-7")
    assert outcome.code == 0, outcome.err
    assert missed.code == 3


@pytest.mark.full
def test_what_families_keep_in_full_precision_is_not_rounded(bundles: Bundles) -> None:
    path = bundles.path(I2T, *GATES, *INT8)
    graph = model_of(path, MATCHERS[0]).graph
    kinds = {node.op_type for node in graph.node if "router" in str(node.metadata_props)}
    assert PRODUCT not in kinds
    assert kinds & {"MatMul", "Gemm"}
    errors = {
        entry["name"]: entry["needed"]
        for entry in json.loads((path / PARITY).read_bytes())["outputs"]
    }
    assert 1e-6 < errors["match_text_to_image gates_layer1"] < 2e-2


@pytest.mark.parametrize(("family", "told"), [(VECTORS, False), (WORDS_ONLY, True), (DUAL, True)])
def test_where_no_product_is_left_to_round_it_is_told(
    family: Family, told: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trained = family.load(write_checkpoint(tmp_path / "toy.pth"))
    with one_torch_thread():
        list(traced_graphs(trained, DEFAULT_OPSET, quantization="int8"))
    assert ("quantize='int8' (--quantize) changes nothing" in caplog.text) == told


def test_half_precision_and_int8_do_not_go_together(tmp_path: Path) -> None:
    outcome = export(IMAGE, tmp_path / "bundle", *INT8, "--dtype", "float16")
    assert outcome.code == 2
    assert "quantize='int8' (--quantize) goes with dtype='float32', not 'float16'" in outcome.error
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize("target", ["tensorrt", "tensorrt-rtx"])
def test_it_is_not_for_engines(target: str, quantised: Path) -> None:
    outcome = itr_deploy("build-engine", quantised, "--target", target)
    assert outcome.code == 1
    assert "its matchers are int8, which is for ONNX Runtime on a CPU" in outcome.error
    assert not (quantised / "engines").exists()


def test_check_names_the_operators_that_tensorrt_does_not_take(quantised: Path) -> None:
    outcome = itr_deploy("check", quantised)
    assert outcome.code == 4
    assert f"operator {PRODUCT} is quantised for ONNX Runtime" in outcome.out


@pytest.mark.parametrize("backend", ["auto", "onnxruntime", "onnxruntime-tensorrt", "tensorrt"])
def test_a_gpu_is_refused_in_one_line(backend: str, quantised: Path) -> None:
    with pytest.raises(BundleError, match="int8, which is for a CPU; with device 'cuda'"):
        open_backend(read_bundle(quantised), "cuda", backend)


def test_members_of_an_ensemble_are_all_quantised_or_none(
    quantised: Path, plain: Path, tmp_path: Path
) -> None:
    outcome = itr_deploy("ensemble", plain, quantised, "--output", tmp_path / "both")
    assert outcome.code == 1
    assert "the quantisation is int8, but none" in outcome.error
    outcome = itr_deploy("ensemble", quantised, quantised, "--output", tmp_path / "both")
    assert outcome.code == 0, outcome.err
    assert read_bundle(tmp_path / "both").manifest.quantization == "int8"
    scores = [Matcher.load(path).score(texts=TEXTS, images=IMAGE.regions) for path in (
        quantised, tmp_path / "both")]  # fmt: skip
    np.testing.assert_allclose(scores[0], scores[1], atol=1e-6)
