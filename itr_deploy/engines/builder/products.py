"""The matrix products of a network and their types in its graph."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from itr_deploy.bundle.manifest import Precision
from itr_deploy.engines.tensorrt_api import TensorRT

_NODE = re.compile(r"\[ONNX Layer: ([^\]]+)\]")


@dataclass(frozen=True)
class Products:
    """Products of matrices with weights and with each other.

    Attributes:
        named: Types of the products that are nodes of the graph, by the node's name.
        unnamed: Types of those that the parser made for other operators: recurrent cells.
    """

    named: dict[str, Precision]
    unnamed: frozenset[Precision]

    def of(self, nodes: Iterable[str]) -> frozenset[Precision]:
        """The types of those ``nodes`` that are products."""
        return frozenset(self.named[node] for node in nodes if node in self.named)


def products_of(trt: TensorRT, network: TensorRT.INetworkDefinition) -> Products:
    """Find the products of a parsed network.

    Args:
        trt: The target's library.
        network: Its ``INetworkDefinition``.
    """
    kinds = (trt.LayerType.MATRIX_MULTIPLY, trt.LayerType.EINSUM, trt.LayerType.CONVOLUTION)
    types: dict[TensorRT.DataType, Precision] = {
        trt.DataType.HALF: "float16",
        trt.DataType.BF16: "bfloat16",
        trt.DataType.FLOAT: "float32",
    }
    named: dict[str, Precision] = {}
    unnamed: set[Precision] = set()
    for number in range(network.num_layers):
        layer = network.get_layer(number)
        if layer.type not in kinds:
            continue
        computed = types.get(layer.get_input(0).dtype)
        if computed is None:
            continue
        nodes = _NODE.findall(layer.metadata)
        named |= dict.fromkeys(nodes, computed)
        if not nodes:
            unnamed.add(computed)
    return Products(named, frozenset(unnamed))
