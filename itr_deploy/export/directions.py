"""Both matcher graphs from one trace.

The model is traced as it computes: ``groups`` of texts and of images, every text of a group with
every image of it. A direction is what stands around that. Its queries come in one axis, as many as
there are rows of candidates or a multiple, and the candidates are gathered from a gallery. Tracing
is most of what an export takes, and shapes that depend on a quotient take it half as long again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from itr_deploy.bundle.manifest import Modality
from itr_deploy.export.specs import GraphSpec
from itr_deploy.export.tracing import name_axes

INT64 = ir.TensorType(ir.DataType.INT64)


def directed(pairs: ir.Model, spec: GraphSpec, query: Modality) -> ir.Model:
    """The graph of one direction.

    Args:
        pairs: The traced model: items ``[groups, texts or images, ...]`` in, pairs
            ``[groups, texts, images, ...]`` out. It is left as it is.
        spec: The graph's inputs, called as the model's, and ``candidates``; its outputs.
        query: Modality of the queries.
    """
    # Types and shapes are replaced, never changed in place: a clone shares them.
    model = pairs.clone()
    graph = model.graph
    items = {str(value.name): value for value in graph.inputs}
    candidates = ir.Value(name="candidates", type=INT64)
    before: list[ir.Node] = []
    count = _node(before, "Shape", [candidates], "group_count", INT64, start=0, end=1)
    graph.inputs.clear()
    for tensor in spec.inputs:
        if tensor.name == candidates.name:
            graph.inputs.append(candidates)
            continue
        inner = items[tensor.name]
        outer = ir.Value(name=tensor.name, type=inner.type)
        graph.inputs.append(outer)
        if tensor.axes[0] == "gallery":
            name = f"{tensor.name}_of_candidates"
            made = _node(before, "Gather", [outer, candidates], name, inner.type, axis=0)
        else:
            name = f"{tensor.name}_in_groups"
            sizes = _sizes(before, graph, outer, tensor.axes, 1)
            shape = _joined(before, [count, _constant(graph, -1), *sizes], name)
            made = _node(before, "Reshape", [outer, shape], name, inner.type)
        made.shape = inner.shape
        inner.replace_all_uses_with(made)
    graph.insert_before(graph[0], before)
    after: list[ir.Node] = []
    for place, tensor in enumerate(spec.outputs):
        inner = graph.outputs[place]
        inner.name = f"{tensor.name}_in_groups"
        value = inner
        if query == "image":
            order = [0, 2, 1, *range(3, len(tensor.axes) + 1)]
            name = f"{tensor.name}_by_query"
            value = _node(after, "Transpose", [value], name, inner.type, perm=order)
        sizes = _sizes(after, graph, value, ("", *tensor.axes), 2)
        shape = _joined(after, [_constant(graph, -1), *sizes], tensor.name)
        graph.outputs[place] = _node(after, "Reshape", [value, shape], tensor.name, inner.type)
    graph.extend(after)
    name_axes(model, spec.inputs, spec.outputs)
    return model


def _sizes(
    nodes: list[ir.Node], graph: ir.Graph, value: ir.Value, axes: Sequence[int | str], first: int
) -> Iterator[ir.Value]:
    """The sizes of a value's axes from ``first`` on, constants where they are known."""
    for place, axis in enumerate(axes[first:], first):
        if isinstance(axis, int):
            yield _constant(graph, axis)
        else:
            name = f"{value.name}_{axis}"
            yield _node(nodes, "Shape", [value], name, INT64, start=place, end=place + 1)


def _joined(nodes: list[ir.Node], sizes: Sequence[ir.Value], name: str) -> ir.Value:
    return _node(nodes, "Concat", sizes, f"{name}_shape", INT64, axis=0)


def _node(
    nodes: list[ir.Node],
    kind: str,
    inputs: Sequence[ir.Value],
    name: str,
    type_: ir.TypeProtocol | None,
    **attributes: Any,
) -> ir.Value:
    made = ir.node(kind, inputs, attributes=attributes, name=f"node_{name}")
    made.outputs[0].name = name
    made.outputs[0].type = type_
    nodes.append(made)
    return made.outputs[0]


def _constant(graph: ir.Graph, number: int) -> ir.Value:
    name = f"size_{number}".replace("-", "minus_")
    if name not in graph.initializers:
        tensor = ir.tensor(np.array([number], np.int64), name=name)
        value = ir.Value(name=name, const_value=tensor, type=INT64)
        value.shape = ir.Shape([1])
        graph.register_initializer(value)
    return graph.initializers[name]
