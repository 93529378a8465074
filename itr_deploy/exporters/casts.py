"""Casts: making one, and removing those that widen a value only to narrow it again."""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes.common import CommonSubexpressionEliminationPass, RemoveUnusedNodesPass

LAYOUT = ("Expand", "Reshape", "Squeeze", "Transpose", "Unsqueeze")
"""Operators that move values without changing them."""


def cast_of(value: ir.Value, dtype: ir.DataType, suffix: str) -> ir.Node:
    """A node, not yet in a graph, that casts a value; its output's name gets the suffix."""
    cast = ir.node("Cast", [value], attributes={"to": dtype.value})
    out = cast.outputs[0]
    out.name, out.shape, out.type = f"{value.name}_{suffix}", value.shape, ir.TensorType(dtype)
    return cast


def cancel_casts(model: ir.Model) -> None:
    """Let products read stored half-precision values directly; changes the model in place.

    A gallery's rows are widened after the gather because sums and norms need float32; a product
    narrows them again without loss. Changes of layout between the two casts are applied to the
    narrow value instead.
    """
    for node in list(model.graph):
        if node.op_type == "Cast" and node.inputs[0] is not None:
            target = ir.DataType(node.attributes["to"].as_int())
            if target == ir.DataType.FLOAT:
                continue
            stored = _narrow(model.graph, node.inputs[0], target)
            if stored is not None:
                ir.convenience.replace_all_uses_with(node.outputs[0], stored)
    RemoveUnusedNodesPass()(model)
    CommonSubexpressionEliminationPass()(model)


def _narrow(graph: ir.Graph, value: ir.Value, target: ir.DataType) -> ir.Value | None:
    """The same values in type ``target``, if they had that type before a cast."""
    node = value.producer()
    if node is None or node.inputs[0] is None:
        return None
    source = node.inputs[0]
    if node.op_type == "Cast":
        widened = value.dtype == ir.DataType.FLOAT and source.dtype == target
        return source if widened else None
    if node.op_type not in LAYOUT:
        return None
    stored = _narrow(graph, source, target)
    if stored is None:
        return None
    moved = ir.node(node.op_type, [stored, *node.inputs[1:]], attributes=node.attributes)
    moved.metadata_props.update(node.metadata_props)
    out = moved.outputs[0]
    out.name, out.shape = f"{value.name}_narrow", value.shape
    out.type = ir.TensorType(target)
    graph.insert_after(node, moved)
    return out
