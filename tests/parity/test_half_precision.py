"""What the gate detects in a half-precision bundle."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper

from itr_deploy import Matcher
from itr_deploy.bundle.store import list_files, read_bundle, write_manifest
from itr_deploy.parity import emulated
from itr_deploy.parity.emulated import write_emulated
from itr_deploy.parity.parity_backend import parity_backend
from itr_deploy.runtime.backends.sessions import open_session
from tests.support.command import itr_deploy
from tests.support.exports import Bundles
from tests.support.golden import TEXT
from tests.support.threads import one_torch_thread


def product(dtype: int) -> onnx.ModelProto:
    """``y = x @ w`` in half precision, between casts."""
    nodes = [
        helper.make_node("Cast", ["x"], ["narrow"], to=dtype),
        helper.make_node("MatMul", ["narrow", "w"], ["product"]),
        helper.make_node("Cast", ["product"], ["y"], to=TensorProto.FLOAT),
    ]
    weights = helper.make_tensor("w", dtype, [2, 2], np.array([1.0, 0.0, 0.0, 100.0]))
    graph = helper.make_graph(
        nodes,
        "product",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])],
        [weights],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


@pytest.mark.parametrize(
    ("dtype", "precision", "third"),
    [(TensorProto.FLOAT16, "float16", 0.33325195), (TensorProto.BFLOAT16, "bfloat16", 0.33398438)],
)
def test_operands_and_results_are_rounded_as_on_a_gpu(
    dtype: int, precision: str, third: float
) -> None:
    model = ir.from_proto(onnx.shape_inference.infer_shapes(product(dtype)))
    emulated._emulate(model.graph, emulated.HALVES[precision])
    session = open_session(ir.to_proto(model).SerializeToString())
    (found,) = session.run(None, {"x": np.array([[1 / 3, 1000.0]], np.float32)})
    assert found[0, 0] == np.float32(third)
    # 100,000 is more than float16 holds.
    assert np.isinf(found[0, 1]) == (precision == "float16")


@pytest.fixture(scope="module")
def half(bundles: Bundles) -> Path:
    return bundles.path(TEXT, "--dtype", "float16")


def test_the_gate_rounds_more_than_onnxruntime_on_a_cpu(half: Path) -> None:
    given = {"texts": (TEXT.token_ids, TEXT.lengths), "images": TEXT.regions}
    plain = Matcher.load(half).score(**given)
    with parity_backend(read_bundle(half)) as backend:
        assert "in its own process" in backend.description
        judged = Matcher(read_bundle(half), backend).score(**given)
    errors = [float(np.abs(scores - TEXT.scores).mean()) for scores in (plain, judged)]
    assert 0 < errors[0] < errors[1] < 1e-2


def test_an_emulated_bundle_is_a_whole_bundle(half: Path, tmp_path: Path) -> None:
    write_emulated(read_bundle(half), tmp_path)
    made = read_bundle(tmp_path).manifest
    assert made.precision == "float32"
    assert made.encoding_id == read_bundle(half).manifest.encoding_id


def test_a_wrong_coarse_embedding_is_missed_though_no_score_reads_it(
    half: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(half, tmp_path / "bundle"))
    file = copy / "graphs" / "text_encoder.onnx"
    model = onnx.load(file, load_external_data=False)
    for node in model.graph.node:
        for place, name in enumerate(node.output):
            if name == "text_embedding":
                node.output[place] = "right"
    model.graph.node.append(helper.make_node("Neg", ["right"], ["text_embedding"]))
    onnx.save(model, file)
    manifest = read_bundle(half).manifest
    write_manifest(copy, manifest.model_copy(update={"files": list_files(copy)}))
    with one_torch_thread():
        outcome = itr_deploy("verify", copy, "--checkpoint", TEXT.checkpoint)
    assert outcome.code == 3
    assert "text_embedding" in outcome.error
