"""What a graph computes, in a form in which names do not matter."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import onnx_ir as ir


def form(model: ir.Model) -> list[Any]:
    """The nodes in their order, with attributes; values are numbers, constants their bytes."""
    numbers: dict[ir.Value, int] = {}

    def known(value: ir.Value | None) -> Any:
        if value is None:
            return None
        tensor = value.const_value
        if tensor is not None and value.producer() is None:
            digest = hashlib.sha256(tensor.tobytes()).hexdigest()
            return str(tensor.dtype), tuple(tensor.shape), digest
        return numbers.setdefault(value, len(numbers))

    def lines() -> Iterator[Any]:
        graph = model.graph
        yield [
            (value.name, known(value), str(value.type), str(value.shape)) for value in graph.inputs
        ]
        for node in graph:
            attributes = sorted((name, _plain(node.attributes[name])) for name in node.attributes)
            inputs = [known(value) for value in node.inputs]
            yield node.op_type, attributes, inputs, [known(value) for value in node.outputs]
        yield [(value.name, known(value), str(value.type)) for value in graph.outputs]

    return list(lines())


def _plain(attribute: ir.Attr) -> str:
    if attribute.type == ir.AttributeType.TENSOR:
        return hashlib.sha256(attribute.as_tensor().tobytes()).hexdigest()
    return str(attribute.value)
