"""Queries in groups, inside a matcher graph: those that share a row of candidates.

A graph takes queries in one axis and ``candidates [groups, K]``: as many as there are groups, or a
multiple. The model is traced with two axes for them, as it computes: were its shapes to depend on
their quotient, PyTorch would need half as long again to trace it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

QUERIES, GROUPS, EACH = "queries", "groups", "queries_of_group"
Axes = Sequence[int | str]


def grouped(axes: Axes) -> tuple[int | str, ...]:
    """The axes that the model is traced with, for those that the graph has."""
    return (GROUPS, EACH, *axes[1:]) if axes[0] == QUERIES else tuple(axes)


def join_groups(model: ir.Model, inputs: Sequence[Axes], outputs: Sequence[Axes]) -> None:
    """Give a traced matcher graph its queries in one axis, in place.

    Args:
        model: Traced with `grouped` axes; an input is called ``candidates`` where there are groups.
        inputs: The graph's own axes of its inputs.
        outputs: The same of its outputs.
    """
    graph = model.graph
    if not any(axes[0] == QUERIES for axes in (*inputs, *outputs)):
        return
    before: list[ir.Node] = []
    named = {value.name: value for value in graph.inputs}
    count = _node(before, "Shape", [named["candidates"]], "group_count", start=0, end=1)
    for place, axes in enumerate(inputs):
        if axes[0] == QUERIES:
            inner = graph.inputs[place]
            outer = ir.Value(name=inner.name, type=inner.type)
            inner.name = f"{outer.name}_in_groups"
            shape = [count, _constant(graph, [-1]), *_sizes(before, graph, outer, axes, 1)]
            joined = _node(before, "Concat", shape, f"{inner.name}_shape", axis=0)
            reshaped = _node(before, "Reshape", [outer, joined], inner.name)
            reshaped.type, reshaped.shape = inner.type, inner.shape
            for user, index in tuple(inner.uses()):
                user.replace_input_with(index, reshaped)
            graph.inputs[place] = outer
    graph.insert_before(graph[0], before)
    after: list[ir.Node] = []
    for place, axes in enumerate(outputs):
        if axes[0] == QUERIES:
            inner = graph.outputs[place]
            name, inner.name = str(inner.name), f"{inner.name}_in_groups"
            shape = [_constant(graph, [-1]), *_sizes(after, graph, inner, grouped(axes), 2)]
            joined = _node(after, "Concat", shape, f"{name}_shape", axis=0)
            outer = _node(after, "Reshape", [inner, joined], name)
            outer.type = inner.type
            graph.outputs[place] = outer
    graph.extend(after)


def _sizes(
    nodes: list[ir.Node], graph: ir.Graph, value: ir.Value, axes: Axes, first: int
) -> Iterator[ir.Value]:
    """The sizes of a value's axes from ``first`` on, constants where they are known."""
    for place, axis in enumerate(axes[first:], first):
        if isinstance(axis, int):
            yield _constant(graph, [axis])
        else:
            name = f"{value.name}_{axis}"
            yield _node(nodes, "Shape", [value], name, start=place, end=place + 1)


def _node(
    nodes: list[ir.Node], kind: str, inputs: Sequence[ir.Value], name: str, **attributes: Any
) -> ir.Value:
    made = ir.node(kind, inputs, attributes=attributes, name=f"node_{name}")
    made.outputs[0].name = name
    if kind != "Reshape":
        made.outputs[0].type = ir.TensorType(ir.DataType.INT64)
    nodes.append(made)
    return made.outputs[0]


def _constant(graph: ir.Graph, numbers: list[int]) -> ir.Value:
    name = f"size_{numbers[0]}".replace("-", "minus_")
    if name not in graph.initializers:
        tensor = ir.tensor(np.array(numbers, np.int64), name=name)
        value = ir.Value(name=name, const_value=tensor, type=ir.TensorType(ir.DataType.INT64))
        value.shape = ir.Shape([1])
        graph.register_initializer(value)
    return graph.initializers[name]
