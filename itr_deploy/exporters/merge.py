"""Several graphs as one: shared inputs appear once, all else gets its member's prefix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir


def merge(
    models: Sequence[ir.Model], inputs: Sequence[Mapping[str, str]], prefixes: Sequence[str]
) -> tuple[ir.Graph, list[dict[str, ir.Value]]]:
    """Put the graphs of several models side by side.

    Args:
        models: The models; they cannot be used afterwards.
        inputs: For each model, the new name of every input. Inputs with the same new name become
            one.
        prefixes: For each model, the prefix of the names of its nodes and values.

    Returns:
        A graph without outputs, and each model's outputs by their old names.

    Raises:
        ValueError: Two inputs with the same name differ in type, or the operator sets differ.
    """
    opsets = models[0].graph.opset_imports
    if any(model.graph.opset_imports != opsets for model in models):
        raise ValueError(f"operator sets differ: {[m.graph.opset_imports for m in models]}")
    shared: dict[str, ir.Value] = {}
    nodes: list[ir.Node] = []
    initializers: list[ir.Value] = []
    outputs = []
    for model, names, prefix in zip(models, inputs, prefixes, strict=True):
        graph = model.graph
        outputs.append({str(value.name): value for value in graph.outputs})
        for value in list(graph.inputs):
            _join_input(value, names[str(value.name)], shared)
        own = list(graph.initializers.values())
        graph.inputs.clear()
        graph.outputs.clear()
        graph.initializers.clear()
        moved = list(graph)
        graph.remove(moved)
        _rename(moved, own, prefix)
        nodes += moved
        initializers += own
    merged = ir.Graph(
        list(shared.values()), [], nodes=nodes, initializers=initializers, opset_imports=opsets
    )
    return merged, outputs


def add_output(graph: ir.Graph, value: ir.Value, name: str, like: ir.Value) -> None:
    """Make ``value`` an output called ``name``, with the type and shape of ``like``."""
    value.name = name
    value.type = like.type
    value.shape = like.shape
    graph.outputs.append(value)


def scaled(graph: ir.Graph, value: ir.Value, factor: float, name: str) -> ir.Value:
    """``value * factor`` in float32."""
    tensor = ir.tensor(np.array(factor, np.float32), name=f"{name}_factor")
    constant = ir.Value(
        name=f"{name}_factor",
        shape=ir.Shape([]),
        type=ir.TensorType(ir.DataType.FLOAT),
        const_value=tensor,
    )
    graph.register_initializer(constant)
    return apply(graph, "Mul", [value, constant], name)


def apply(
    graph: ir.Graph,
    operator: str,
    values: Sequence[ir.Value],
    name: str,
    attributes: Mapping[str, int] | None = None,
) -> ir.Value:
    """The result of one operator, appended to the graph."""
    node = ir.node(operator, list(values), attributes=dict(attributes or {}), name=name)
    node.outputs[0].name = name
    graph.append(node)
    return node.outputs[0]


def _join_input(value: ir.Value, name: str, shared: dict[str, ir.Value]) -> None:
    if name not in shared:
        shared[name] = ir.Value(name=name, shape=value.shape, type=value.type)
    elif shared[name].type != value.type:
        raise ValueError(f"input {name} is {shared[name].type} and {value.type}")
    value.replace_all_uses_with(shared[name])


def _rename(nodes: Sequence[ir.Node], initializers: Sequence[ir.Value], prefix: str) -> None:
    for node in nodes:
        node.name = f"{prefix}{node.name}"
        for value in node.outputs:
            value.name = f"{prefix}{value.name}"
    for value in initializers:
        value.name = f"{prefix}{value.name}"
