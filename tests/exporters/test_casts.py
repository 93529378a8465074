from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
from onnx import TensorProto, helper

from itr_deploy.exporters.casts import cancel_casts
from itr_deploy.runtime.backends.sessions import open_session


def model(*nodes: onnx.NodeProto, stored: int, out: int) -> ir.Model:
    graph = helper.make_graph(
        list(nodes),
        "graph",
        [
            helper.make_tensor_value_info("stored", stored, ["n", 4]),
            helper.make_tensor_value_info("weights", TensorProto.FLOAT16, [4, 4]),
        ],
        [helper.make_tensor_value_info("out", out, None)],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return ir.from_proto(onnx.shape_inference.infer_shapes(made, strict_mode=True))


def cast(source: str, target: str, dtype: int) -> onnx.NodeProto:
    return helper.make_node("Cast", [source], [target], name=target, to=dtype)


def casts(found: ir.Model) -> list[str]:
    return [node.name or "" for node in found.graph if node.op_type == "Cast"]


def run(found: ir.Model, stored: np.ndarray) -> np.ndarray:
    session = open_session(ir.to_proto(found).SerializeToString())
    weights = np.arange(16, dtype=np.float16).reshape(4, 4)
    return session.run(None, {"stored": stored, "weights": weights})[0]


def product_of(stored: int) -> ir.Model:
    return model(
        cast("stored", "wide", TensorProto.FLOAT),
        helper.make_node("Transpose", ["wide"], ["turned"], perm=[1, 0]),
        helper.make_node("Transpose", ["turned"], ["back"], perm=[1, 0]),
        cast("back", "narrow", TensorProto.FLOAT16),
        helper.make_node("MatMul", ["narrow", "weights"], ["product"]),
        cast("product", "widened", TensorProto.FLOAT),
        helper.make_node("Add", ["widened", "wide"], ["out"]),
        stored=stored,
        out=TensorProto.FLOAT,
    )


def test_a_product_reads_stored_half_precision_as_it_is_through_changes_of_layout() -> None:
    before, after = product_of(TensorProto.FLOAT16), product_of(TensorProto.FLOAT16)
    cancel_casts(after)
    assert casts(after) == ["wide", "widened"]
    stored = np.linspace(-1, 1, 12, dtype=np.float16).reshape(3, 4)
    np.testing.assert_array_equal(run(after, stored), run(before, stored))


def test_values_that_are_rounded_stay_rounded() -> None:
    found = product_of(TensorProto.FLOAT)
    cancel_casts(found)
    assert "narrow" in casts(found)


def test_a_rounding_is_not_taken_back() -> None:
    found = model(
        cast("stored", "narrow", TensorProto.FLOAT16),
        cast("narrow", "wide", TensorProto.FLOAT),
        helper.make_node("Neg", ["wide"], ["out"]),
        stored=TensorProto.FLOAT,
        out=TensorProto.FLOAT,
    )
    cancel_casts(found)
    assert casts(found) == ["narrow", "wide"]
