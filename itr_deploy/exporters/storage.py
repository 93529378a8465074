"""Matcher graphs for float16 and int8 galleries, made from the float32 one.

A gallery's rows are widened after the gather, so that only the candidates' rows are converted,
never the whole gallery.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from itr_deploy.bundle.names import scale_name
from itr_deploy.exporters.casts import cast_of

FLOAT = ir.DataType.FLOAT


def with_float16_gallery(model: ir.Model, gallery_inputs: list[str]) -> ir.Model:
    """A copy of ``model`` whose gallery inputs are float16, cast to float32 after the gather.

    Args:
        model: A matcher graph with float32 gallery inputs.
        gallery_inputs: Names of those inputs.

    Raises:
        ValueError: One is read by something other than a gather or a shape.
    """
    half = model.clone()
    for value in _inputs(half, gallery_inputs):
        _store(value, ir.DataType.FLOAT16, _cast)
    return half


def with_int8_gallery(model: ir.Model, gallery_inputs: list[str]) -> ir.Model:
    """A copy of ``model`` whose gallery inputs are int8, each followed by an input of its scales.

    The candidates' rows are cast to float32 and multiplied by their scales, one per vector
    (`itr_deploy.runtime.encoding.storage`): an input ``[gallery, positions, width]`` has scales
    ``[gallery, positions]``, one of ``[gallery, width]`` has ``[gallery]``.

    Args:
        model: A matcher graph with float32 gallery inputs.
        gallery_inputs: Names of those inputs.

    Raises:
        ValueError: One is read by something other than a gather or a shape.
    """
    made = model.clone()
    last = _last_axis(made.graph)
    for value in _inputs(made, gallery_inputs):
        scales = add_scales(made.graph, value)

        def widen(gather: ir.Node, scales: ir.Value = scales) -> list[ir.Node]:
            return _dequantise(gather, scales, last)

        _store(value, ir.DataType.INT8, widen)
    return made


def add_scales(graph: ir.Graph, value: ir.Value) -> ir.Value:
    """Put an input of scales, one for each of an input's vectors, behind it, and return it."""
    assert value.shape is not None
    scales = ir.Value(
        name=scale_name(str(value.name)),
        type=ir.TensorType(FLOAT),
        shape=ir.Shape(value.shape[:-1]),
    )
    graph.inputs.insert(graph.inputs.index(value) + 1, scales)
    return scales


def _inputs(model: ir.Model, names: list[str]) -> list[ir.Value]:
    return [value for value in model.graph.inputs if value.name in names]


def _store(value: ir.Value, dtype: ir.DataType, widen: Callable[[ir.Node], list[ir.Node]]) -> None:
    """Change an input's type, and cast what is gathered from it to float32 with ``widen``."""
    # Types are replaced, never changed in place: a clone shares them with its original.
    value.type = ir.TensorType(dtype)
    for node, _ in value.uses():
        if node.op_type == "Gather":
            gathered = node.outputs[0]
            # The stored value has the same shape; a Shape of the widened one would keep it alive.
            consumers = tuple(use for use in gathered.uses() if use.node.op_type != "Shape")
            gathered.type = ir.TensorType(dtype)
            added = widen(node)
            for consumer, index in consumers:
                consumer.replace_input_with(index, added[-1].outputs[0])
            assert node.graph is not None
            node.graph.insert_after(node, added)
        elif node.op_type != "Shape":
            raise ValueError(f"gallery input {value.name} is read by {node.op_type}")


def _cast(gather: ir.Node) -> list[ir.Node]:
    return [cast_of(gather.outputs[0], FLOAT, "float32")]


def _dequantise(gather: ir.Node, scales: ir.Value, last: ir.Value) -> list[ir.Node]:
    rows = gather.outputs[0]
    cast = cast_of(rows, FLOAT, "float32")
    own = ir.node("Gather", [scales, gather.inputs[1]], attributes=gather.attributes)
    column = ir.node("Unsqueeze", [own.outputs[0], last])
    product = ir.node("Mul", [cast.outputs[0], column.outputs[0]])
    for node, what in ((own, "scale"), (column, "scale_column"), (product, "dequantised")):
        node.outputs[0].name = node.name = f"{rows.name}_{what}"
        node.outputs[0].type = ir.TensorType(FLOAT)
    product.outputs[0].shape = rows.shape
    return [cast, own, column, product]


def _last_axis(graph: ir.Graph) -> ir.Value:
    tensor = ir.tensor(np.array([-1], np.int64), name="last_axis")
    value = ir.Value(
        name="last_axis",
        const_value=tensor,
        type=ir.TensorType(ir.DataType.INT64),
        shape=ir.Shape([1]),
    )
    graph.register_initializer(value)
    return value
