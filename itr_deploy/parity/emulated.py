"""A half-precision bundle in float32 operators that round where the half-precision ones do.

ONNX Runtime has no half-precision products on a CPU. It refuses bfloat16 ones, and computes float16
ones in float32 without rounding their operands, which would hide the errors of half precision.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx_ir as ir

from itr_deploy.bundle.detector import DetectorManifest
from itr_deploy.bundle.manifest import Precision
from itr_deploy.bundle.store import AnyBundle, list_files, text_files, write_manifest
from itr_deploy.exporters.casts import cast_of
from itr_deploy.exporters.weights import WeightsFile

FLOAT = ir.DataType.FLOAT
HALVES: dict[Precision, ir.DataType] = {
    "float16": ir.DataType.FLOAT16,
    "bfloat16": ir.DataType.BFLOAT16,
}


def write_emulated(bundle: AnyBundle, root: Path) -> None:
    """Write a float32 bundle that computes what a half-precision one does.

    Every operator with a half-precision result is replaced by the float32 one, and its result is
    rounded to half precision. In all else the graphs are the exported ones.

    Args:
        bundle: A bundle in half precision.
        root: An empty directory.
    """
    manifest = bundle.manifest
    texts = [] if isinstance(manifest, DetectorManifest) else text_files(manifest.text_processing)
    for name in texts:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(bundle.file(name), root / name)
    first = next(iter(manifest.graphs.values()))
    weights = (root / first.file).parent / "emulated.bin"
    weights.parent.mkdir(parents=True, exist_ok=True)
    with WeightsFile(weights) as shared:
        for info in manifest.graphs.values():
            model = ir.load(bundle.file(info.file))
            _emulate(model.graph, HALVES[manifest.precision])
            shared.take(model)
            ir.save(model, root / info.file)
    changed = {"precision": "float32", "files": list_files(root)}
    write_manifest(root, manifest.model_copy(update=changed))


def _emulate(graph: ir.Graph, half: ir.DataType) -> None:
    for value in graph.initializers.values():
        if value.dtype == half and value.const_value is not None:
            wide = value.const_value.numpy().astype(np.float32)
            value.const_value = ir.tensor(wide, name=value.name)
            value.type = ir.TensorType(FLOAT)
    for node in list(graph):
        for value in node.outputs:
            if value.dtype == half:
                _round(graph, node, value, half)
    for value in graph.inputs:
        # The gallery's tensors keep their type.
        if value.dtype == half:
            users = tuple(value.uses())
            wide_input = cast_of(value, FLOAT, "wide")
            _use_instead(users, wide_input.outputs[0])
            graph.insert_before(graph[0], wide_input)


def _round(graph: ir.Graph, node: ir.Node, value: ir.Value, half: ir.DataType) -> None:
    """Make a node compute in float32, and round its result."""
    value.type = ir.TensorType(FLOAT)
    if node.op_type == "Cast":
        node.attributes["to"] = ir.AttrInt64("to", FLOAT.value)
    users = tuple(value.uses())
    narrow = cast_of(value, half, "narrow")
    wide = cast_of(narrow.outputs[0], FLOAT, "wide")
    _use_instead(users, wide.outputs[0])
    graph.insert_after(node, [narrow, wide])


def _use_instead(users: tuple[tuple[ir.Node, int], ...], value: ir.Value) -> None:
    for user, index in users:
        user.replace_input_with(index, value)
