"""All graphs that score pairs, made from one trace.

The model is traced in the form it computes in: ``groups`` of texts and images, every text of a
group with every image of it, the prefilter together with the matcher. A part has some of the
outputs. The graph that explains takes as many texts as images, groups of one of each. A direction
wraps a part: its queries come in one axis, their number equal to the rows of
candidates or a multiple of it, and the candidates are gathered from a gallery. Tracing is most of
an export's time, and shapes that depend on a quotient would make it take half as long again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from itr_deploy.bundle.modality import Modality
from itr_deploy.exporters.specs import GraphSpec, PairTensors
from itr_deploy.exporters.tracing import name_axes

INT64 = ir.TensorType(ir.DataType.INT64)


def part(pairs: ir.Model, tensors: PairTensors, outputs: slice) -> ir.Model:
    """A copy of a traced model with some of its outputs and only the inputs that they need.

    Args:
        pairs: The traced model.
        tensors: The part's inputs.
        outputs: Positions of the outputs that the part keeps. Positions, because one output may be
            the same value as another or be computed from it.

    Raises:
        ValueError: The outputs need an input that the part does not have.
    """
    model = pairs.clone()
    graph = model.graph
    names = {tensor.name for tensor in (*tensors.texts, tensors.lengths, *tensors.images)}
    own = list(graph.outputs)[outputs]
    for value in graph.outputs:
        if value not in own:  # the part's own output may need its name
            value.name = f"{value.name}_inside"
    graph.outputs[:] = own
    RemoveUnusedNodesPass()(model)
    taken = [value for value in graph.inputs if value.name in names]
    for left in [value for value in graph.inputs if value.name not in names]:
        for node, place in left.uses():
            node.replace_input_with(place, _of_the_same_size(node, left, taken))
    graph.inputs[:] = taken
    return model


def _of_the_same_size(node: ir.Node, left: ir.Value, taken: Sequence[ir.Value]) -> ir.Value:
    """A remaining input with the sizes that a node reads from an input that is left out.

    The exporter reads a size from any input that has it.
    """
    if node.op_type == "Shape":
        axes = _read_axes(node, left)
        for value in taken:
            if _read_axes(node, value) == axes:
                return value
    raise ValueError(f"{left.name} is read by {node.name}, and left out")


def _read_axes(node: ir.Node, value: ir.Value) -> list[str]:
    assert value.shape is not None
    start, end = node.attributes.get_int("start", 0), node.attributes.get_int("end", None)
    return [str(axis) for axis in value.shape[slice(start, end)]]


def directed(pairs: ir.Model, spec: GraphSpec, query: Modality) -> ir.Model:
    """The graph of one direction.

    Args:
        pairs: The traced model: items ``[groups, texts or images, ...]`` in, pairs
            ``[groups, texts, images, ...]`` out. It is not changed.
        spec: The graph's inputs, named as the model's, and ``candidates``; its outputs.
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


def paired(pairs: ir.Model, spec: GraphSpec) -> ir.Model:
    """The graph that tells of the first text with the first image, the second with the second.

    Args:
        pairs: The traced model, as for `directed`. It is not changed.
        spec: The graph's inputs, named as the model's; its outputs.
    """
    model = pairs.clone()
    graph = model.graph
    items = {str(value.name): value for value in graph.inputs}
    one, both = _constant(graph, 1), _constant(graph, 1, 2)
    before: list[ir.Node] = []
    graph.inputs.clear()
    for tensor in spec.inputs:
        inner = items[tensor.name]
        outer = ir.Value(name=tensor.name, type=inner.type)
        graph.inputs.append(outer)
        name = f"{tensor.name}_in_groups"
        made = _node(before, "Unsqueeze", [outer, one], name, inner.type)
        made.shape = inner.shape
        inner.replace_all_uses_with(made)
    graph.insert_before(graph[0], before)
    after: list[ir.Node] = []
    for place, tensor in enumerate(spec.outputs):
        inner = graph.outputs[place]
        inner.name = f"{tensor.name}_in_groups"
        graph.outputs[place] = _node(after, "Squeeze", [inner, both], tensor.name, inner.type)
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


def _constant(graph: ir.Graph, *numbers: int) -> ir.Value:
    """Sizes or axes, ``int64 [n]``, once in a graph."""
    name = "_".join(["size", *map(str, numbers)]).replace("-", "minus_")
    if name not in graph.initializers:
        tensor = ir.tensor(np.array(numbers, np.int64), name=name)
        value = ir.Value(name=name, const_value=tensor, type=INT64)
        value.shape = ir.Shape([len(numbers)])
        graph.register_initializer(value)
    return graph.initializers[name]
