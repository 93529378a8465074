"""The float16 and int8 forms of a matcher graph, on graphs of two nodes."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx.reference import ReferenceEvaluator

from itr_deploy.exporters.storage import with_float16_gallery, with_int8_gallery


def gather_graph(reader: str = "Gather") -> ir.Model:
    middle = "g = Gather(gallery, rows)" if reader == "Gather" else f"g = {reader}(gallery)"
    text = f"""
    <ir_version: 9, opset_import: ["" : 20]>
    small (float[n, 2] gallery, int64[k] rows, float[n, 2] other) => (float[m, 2] y)
    {{ {middle}
       y = Add(g, g) }}
    """
    return ir.from_proto(onnx.parser.parse_model(text))


def run(model: ir.Model, gallery: np.ndarray, **more: np.ndarray) -> np.ndarray:
    proto = ir.to_proto(model)
    onnx.checker.check_model(proto, full_check=True)
    rows, other = np.array([2, 0]), np.zeros((3, 2), np.float32)
    inputs = {"gallery": gallery, "rows": rows, "other": other, **more}
    return ReferenceEvaluator(proto).run(None, inputs)[0]


def test_the_gallery_is_half_and_the_result_as_before() -> None:
    gallery = np.array([[1, 2], [3, 4], [5, 6.5]], np.float32)
    model = gather_graph()
    half = with_float16_gallery(model, ["gallery"])
    expected = [[10, 13], [2, 4]]
    np.testing.assert_array_equal(run(half, gallery.astype(np.float16)), expected)
    np.testing.assert_array_equal(run(model, gallery), expected)


def test_the_original_and_the_other_inputs_stay_float32() -> None:
    model = gather_graph()
    half = with_float16_gallery(model, ["gallery"])
    kinds = {value.name: value.dtype for value in half.graph.inputs}
    assert kinds["gallery"] == ir.DataType.FLOAT16
    assert kinds["other"] == ir.DataType.FLOAT
    assert all(v.dtype != ir.DataType.FLOAT16 for v in model.graph.inputs)
    assert [node.op_type for node in model.graph] == ["Gather", "Add"]


def test_a_gallery_that_is_read_whole_is_refused() -> None:
    with pytest.raises(ValueError, match="gallery is read by Abs"):
        with_float16_gallery(gather_graph("Abs"), ["gallery"])


def test_int8_rows_are_multiplied_by_their_scales() -> None:
    gallery = np.array([[1, -127], [3, 4], [127, 6]], np.int8)
    scales = np.array([1, 0, 0.5], np.float32)
    model = with_int8_gallery(gather_graph(), ["gallery"])
    found = run(model, gallery, gallery_scale=scales)
    np.testing.assert_array_equal(found, 2 * (gallery * scales[:, None])[[2, 0]])


def test_every_position_of_an_int8_gallery_has_a_scale() -> None:
    text = """
    <ir_version: 9, opset_import: ["" : 20]>
    small (float[n, p, 2] gallery, int64[q, k] rows) => (float[q, k, p, 2] y)
    { g = Gather <axis=0> (gallery, rows)
      y = Identity(g) }
    """
    model = with_int8_gallery(ir.from_proto(onnx.parser.parse_model(text)), ["gallery"])
    names = [(value.name, tuple(map(str, value.shape or ()))) for value in model.graph.inputs]
    assert names[:2] == [("gallery", ("n", "p", "2")), ("gallery_scale", ("n", "p"))]
    rng = np.random.default_rng(0)
    gallery = rng.integers(-127, 128, (5, 3, 2)).astype(np.int8)
    scales = rng.random((5, 3), np.float32)
    rows = np.array([[4, 0], [1, 1]])
    proto = ir.to_proto(model)
    onnx.checker.check_model(proto, full_check=True)
    inputs = {"gallery": gallery, "gallery_scale": scales, "rows": rows}
    found = ReferenceEvaluator(proto).run(None, inputs)[0]
    np.testing.assert_array_equal(found, (gallery * scales[..., None])[rows])


def test_an_int8_gallery_that_is_read_whole_is_refused() -> None:
    with pytest.raises(ValueError, match="gallery is read by Abs"):
        with_int8_gallery(gather_graph("Abs"), ["gallery"])
