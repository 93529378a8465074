"""Graphs that multiply bytes, compared with the float32 ones, on graphs of a few nodes."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx.reference import ReferenceEvaluator

from itr_deploy.exporters.in_bytes import with_byte_gallery
from itr_deploy.runtime.encoding.in_bytes import as_bytes

WIDTH, ROWS = 8, 3
READERS = {
    "left": "p = MatMul(flat, other_across)\n y = Identity(p)",
    "right": "t = Transpose<perm=[0, 2, 1]>(flat)\n p = MatMul(other, t)\n y = Identity(p)",
    "over rows": "p = MatMul(weights, g)\n y = Identity(p)",
}


def graph_of(reader: str, also: str = "") -> ir.Model:
    text = f"""
    <ir_version: 9, opset_import: ["" : 20]>
    small (float[n, {ROWS}, {WIDTH}] gallery, int64[1, k] rows, float[1, 2, {WIDTH}] other,
           float[1, {WIDTH}, 2] other_across, float[1, k, 2, {ROWS}] weights) => (float[a, b, c] y)
    <int64[3] shape = {{1, -1, {WIDTH}}}>
    {{ g = Gather<axis=0>(gallery, rows)
       flat = Reshape(g, shape)
       {also}
       {READERS[reader]} }}
    """
    model = ir.from_proto(onnx.parser.parse_model(text))
    for node in model.graph:
        if node.op_type in ("Gather", "Reshape"):
            axes = (1, "k", ROWS, WIDTH) if node.op_type == "Gather" else (1, "m", WIDTH)
            node.outputs[0].shape = ir.Shape(axes)
            node.outputs[0].type = ir.TensorType(ir.DataType.FLOAT)
    return model


def run(model: ir.Model, **inputs: np.ndarray) -> np.ndarray:
    proto = ir.to_proto(model)
    onnx.checker.check_model(proto)
    return ReferenceEvaluator(proto).run(None, inputs)[0]


@pytest.mark.parametrize("reader", READERS)
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1 << 30), spread=st.floats(0, 3), zeros=st.booleans())
def test_products_of_bytes_are_those_of_floats_but_for_rounding(
    reader: str, seed: int, spread: float, zeros: bool
) -> None:
    rng = np.random.default_rng(seed)
    sizes = np.exp(spread * rng.standard_normal((5, ROWS, 1)))
    gallery = (sizes * rng.standard_normal((5, ROWS, WIDTH))).astype(np.float32)
    if zeros:
        gallery[1] = 0
    other = rng.standard_normal((1, 2, WIDTH)).astype(np.float32)
    weights = rng.standard_normal((1, 4, 2, ROWS)).astype(np.float32)
    more = {"rows": np.array([[4, 1, 0, 1]]), "other": other, "weights": weights}
    more["other_across"] = other.transpose(0, 2, 1)
    model = graph_of(reader)
    made = with_byte_gallery(model, ["gallery"])
    assert made is not None
    exact = run(model, gallery=gallery, **more)
    content, scales = as_bytes(gallery)
    found = run(made, gallery=content, gallery_scale=scales, **more)
    assert found.dtype == np.float32
    largest = np.abs(gallery).max(axis=-1, initial=0).max()
    sides = WIDTH * np.abs(other).max(), ROWS * np.abs(weights).max()
    allowed = 0.01 * largest * sides[reader == "over rows"] + 1e-6
    np.testing.assert_allclose(found, exact, atol=allowed)


def test_a_score_does_not_depend_on_what_is_scored_with_it() -> None:
    rng = np.random.default_rng(0)
    content, scales = as_bytes(rng.standard_normal((5, ROWS, WIDTH)).astype(np.float32))
    made = with_byte_gallery(graph_of("right"), ["gallery"])
    assert made is not None
    other = rng.standard_normal((1, 2, WIDTH)).astype(np.float32)
    beside = other * np.array([[[1], [100]]], np.float32)

    def scores(rows: list[int], words: np.ndarray) -> np.ndarray:
        unread = {
            "other_across": np.zeros((1, WIDTH, 2), np.float32),
            "weights": np.zeros((1, len(rows), 2, ROWS), np.float32),
        }
        gallery = {"gallery": content, "gallery_scale": scales, "rows": np.array([rows])}
        return run(made, other=words, **gallery, **unread)

    alone = scores([3], other)[:, 0]
    np.testing.assert_array_equal(scores([3, 2], beside)[:, 0, :ROWS], alone)


@pytest.mark.parametrize("reader", ["left", "right"])
def test_two_products_by_signed_numbers_fit_the_16_bits_of_x86_without_vnni(reader: str) -> None:
    rng = np.random.default_rng(0)
    made = with_byte_gallery(graph_of(reader), ["gallery"])
    assert made is not None
    (product,) = (node for node in made.graph if node.op_type == "MatMulInteger")
    numbers = product.inputs[1]
    assert numbers is not None
    assert numbers.dtype == ir.DataType.INT8
    numbers.shape = ir.Shape(["a", "b", "c"])
    made.graph.outputs[:] = [numbers]
    content, scales = as_bytes(rng.standard_normal((5, ROWS, WIDTH)).astype(np.float32))
    other = rng.standard_normal((1, 2, WIDTH)).astype(np.float32)
    found = run(
        made,
        gallery=content,
        gallery_scale=scales,
        rows=np.array([[0, 1]]),
        other=other,
        other_across=other.transpose(0, 2, 1),
        weights=np.zeros((1, 2, 2, ROWS), np.float32),
    )
    most = int(np.abs(found.astype(int)).max())
    assert most > 60
    assert 2 * 255 * most < 1 << 15


@pytest.mark.parametrize("also", ["s = ReduceSum(flat)", "s = Add(g, g)", "s = Abs(gallery)"])
def test_a_graph_that_reads_vectors_otherwise_has_no_form_in_bytes(also: str) -> None:
    assert with_byte_gallery(graph_of("right", also), ["gallery"]) is None


def test_the_float32_graph_stays_as_it_is() -> None:
    model = graph_of("left")
    made = with_byte_gallery(model, ["gallery"])
    assert made is not None
    kinds = {value.name: value.dtype for value in made.graph.inputs}
    assert kinds["gallery"] == ir.DataType.UINT8
    assert kinds["gallery_scale"] == kinds["other_across"] == ir.DataType.FLOAT
    assert [node.op_type for node in model.graph] == ["Gather", "Reshape", "MatMul", "Identity"]
    assert all(value.dtype != ir.DataType.UINT8 for value in model.graph.inputs)
