"""A matcher graph for half-precision galleries, made from the float32 one."""

from __future__ import annotations

import onnx_ir as ir

from itr_deploy.export.casts import cast_of


def with_float16_gallery(model: ir.Model, gallery_inputs: list[str]) -> ir.Model:
    """A copy of ``model`` whose gallery inputs are float16, cast to float32 after the gather.

    The cast follows the gather so that only the candidates' rows are converted, never the gallery.

    Args:
        model: A matcher graph with float32 gallery inputs.
        gallery_inputs: Names of those inputs.

    Raises:
        ValueError: One is read by something other than a gather or a shape.
    """
    # Types are replaced, never changed in place: a clone shares them with its original.
    half = model.clone()
    for value in half.graph.inputs:
        if value.name in gallery_inputs:
            value.type = ir.TensorType(ir.DataType.FLOAT16)
            for node, _ in value.uses():
                if node.op_type == "Gather":
                    _cast_output(half.graph, node)
                elif node.op_type != "Shape":
                    raise ValueError(f"gallery input {value.name} is read by {node.op_type}")
    return half


def _cast_output(graph: ir.Graph, gather: ir.Node) -> None:
    output = gather.outputs[0]
    # A shape is the same before the cast, and would keep a cast that nothing else reads.
    consumers = tuple(use for use in output.uses() if use.node.op_type != "Shape")
    output.type = ir.TensorType(ir.DataType.FLOAT16)
    cast = cast_of(output, ir.DataType.FLOAT, "float32")
    for node, index in consumers:
        node.replace_input_with(index, cast.outputs[0])
    graph.insert_after(gather, cast)
