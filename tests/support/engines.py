"""Small graphs that builders turn into engines quickly, and bundles that hold them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from itr_deploy.bundle.manifest import Manifest, Precision
from itr_deploy.bundle.store import list_files, write_manifest

RTX = pytest.mark.skipif(
    sys.platform != "linux", reason="tensorrt-rtx has wheels for Linux and Windows on x86-64"
)
GRAPH = "image_encoder"
WIDTH = 32
"""Width of the golden models' regions, which these graphs take too."""
TYPES: dict[Precision, int] = {
    "float32": TensorProto.FLOAT,
    "float16": TensorProto.FLOAT16,
    "bfloat16": TensorProto.BFLOAT16,
}


class GraphMaker:
    """A graph that takes ``regions`` in float32 and computes in ``precision``."""

    def __init__(self, precision: Precision = "float32") -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self._rng = np.random.default_rng(0)
        self._precision = precision
        self._last = "regions"

    def model(self) -> onnx.ModelProto:
        self.cast("float32")
        value = helper.make_tensor_value_info
        shape = ("batch", "regions", WIDTH)
        given = value("regions", TensorProto.FLOAT, shape)
        result = value(self._last, TensorProto.FLOAT, None)
        graph = helper.make_graph(self.nodes, GRAPH, [given], [result], self.weights)
        opset = helper.make_opsetid("", 20)
        return helper.make_model(graph, opset_imports=[opset], ir_version=9)

    def cast(self, precision: Precision) -> GraphMaker:
        return self.add("Cast", to=TYPES[precision])

    def linear(self, precision: Precision | None = None) -> GraphMaker:
        """A product with a constant weight."""
        kind = precision or self._precision
        weight = self._weight((WIDTH, WIDTH), kind)
        return self.cast(kind).add("MatMul", weight)

    def attention(self) -> GraphMaker:
        """Two products of activations with a softmax in float32 between."""
        self.cast(self._precision)
        own = self._last
        self.add("Transpose", perm=[0, 2, 1])
        turned, self._last = self._last, own
        self.add("MatMul", turned).cast("float32").add("Softmax", axis=-1)
        return self.cast(self._precision).add("MatMul", own)

    def recurrent(self) -> GraphMaker:
        """A recurrent cell in float32."""
        weights = [self._weight((1, 3 * WIDTH, WIDTH), "float32") for _ in range(2)]
        self.cast("float32").add("Transpose", perm=[1, 0, 2])
        self.add("GRU", *weights, hidden_size=WIDTH, linear_before_reset=1)
        axes = numpy_helper.from_array(np.array([1]), "axes")
        self.weights.append(axes)
        return self.add("Squeeze", "axes").add("Transpose", perm=[1, 0, 2])

    def add(self, kind: str, *others: str, scope: str = "", **attributes: Any) -> GraphMaker:
        number = len(self.nodes)
        taken, made = [self._last, *others], f"value_{number}"
        node = helper.make_node(kind, taken, [made], name=f"{kind}_{number}", **attributes)
        if scope:
            node.metadata_props.add(key="namespace", value=f"{scope}: a.Module/op: aten.op")
        self.nodes.append(node)
        self._last = made
        return self

    def _weight(self, shape: tuple[int, ...], precision: Precision) -> str:
        values = self._rng.standard_normal(shape) / WIDTH
        name = f"weight_{len(self.weights)}"
        flat = values.astype(np.float32).flatten().tolist()
        self.weights.append(helper.make_tensor(name, TYPES[precision], shape, flat))
        return name


def rewrite_manifest(bundle: Path, **updates: object) -> Path:
    """Change a bundle's manifest, and let it list the files as they are now."""
    content = json.loads((bundle / "manifest.json").read_bytes())
    del content["checksum"]
    files = {name: info.model_dump() for name, info in list_files(bundle).items()}
    content |= {"files": files, **updates}
    write_manifest(bundle, Manifest.model_validate_json(json.dumps(content)))
    return bundle


def put_graph(bundle: Path, model: onnx.ModelProto, precision: Precision = "float32") -> Path:
    """Replace the image encoder's graph, and remove all other graphs."""
    onnx.save(model, bundle / "graphs" / f"{GRAPH}.onnx")
    graphs = json.loads((bundle / "manifest.json").read_bytes())["graphs"]
    return rewrite_manifest(bundle, graphs={GRAPH: graphs[GRAPH]}, precision=precision)
