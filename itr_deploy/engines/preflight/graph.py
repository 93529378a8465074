"""The view of an ONNX graph that the preflight's rules work on."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, numpy_helper, shape_inference

SMALL = 1024
"""Most elements of a constant whose values are examined."""


class GraphView:
    """A graph's nodes, and what is known about its values. Weights are not read."""

    def __init__(self, model: onnx.ModelProto) -> None:
        """View a model; its external data may be missing."""
        try:
            self.model = shape_inference.infer_shapes(model)
        except shape_inference.InferenceError:
            # ONNX does not know an operator: the rules use the types that the model declares.
            self.model = model

    @classmethod
    def read(cls, path: Path) -> GraphView:
        """Read a file without its weights."""
        return cls(onnx.load(path, load_external_data=False))

    @cached_property
    def nodes(self) -> tuple[NodeProto, ...]:
        """Every node, including those of subgraphs."""
        return tuple(_nodes(self.model.graph))

    def dtype(self, name: str) -> int | None:
        """Element type of a value, ``TensorProto.FLOAT`` and so on; None if unknown."""
        return self._dtypes.get(name)

    def is_constant(self, name: str) -> bool:
        """Whether a value depends on constants only, so that a parser can fold it."""
        if name in self._initializers:
            return True
        node = self._producers.get(name)
        if node is None:
            return False
        return all(self.is_constant(given) for given in node.input if given)

    def constant(self, name: str) -> NDArray[np.generic] | None:
        """The value of a small constant stored in the graph; None for any other value."""
        tensor = self._initializers.get(name)
        if tensor is None:
            node = self._producers.get(name)
            if node is None or node.op_type != "Constant":
                return None
            found = {entry.name: entry for entry in node.attribute}
            if "value" not in found:
                return np.asarray(onnx.helper.get_attribute_value(node.attribute[0]))
            tensor = found["value"].t
        if tensor.data_location == TensorProto.EXTERNAL or np.prod(tensor.dims) > SMALL:
            return None
        return numpy_helper.to_array(tensor)

    def consumers(self, name: str) -> list[NodeProto]:
        """Nodes that read a value."""
        return [node for node in self.nodes if name in node.input]

    @cached_property
    def _initializers(self) -> dict[str, TensorProto]:
        return {tensor.name: tensor for tensor in self.model.graph.initializer}

    @cached_property
    def _producers(self) -> dict[str, NodeProto]:
        return {name: node for node in self.nodes for name in node.output if name}

    @cached_property
    def _dtypes(self) -> dict[str, int]:
        graph = self.model.graph
        known = {name: tensor.data_type for name, tensor in self._initializers.items()}
        for value in (*graph.input, *graph.output, *graph.value_info):
            known.setdefault(value.name, value.type.tensor_type.elem_type)
        return {name: dtype for name, dtype in known.items() if dtype}


def attribute(node: NodeProto, name: str, default: int | str = 0) -> int | str:
    """An attribute of a node."""
    for entry in node.attribute:
        if entry.name == name:
            value = onnx.helper.get_attribute_value(entry)
            return value.decode() if isinstance(value, bytes) else value
    return default


def _nodes(graph: onnx.GraphProto) -> Iterator[NodeProto]:
    for node in graph.node:
        yield node
        for entry in node.attribute:
            if entry.HasField("g"):
                yield from _nodes(entry.g)
            for inner in entry.graphs:
                yield from _nodes(inner)
