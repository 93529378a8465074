"""A bfloat16 bundle in float32 operators: for a machine whose ONNX Runtime has no bfloat16."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx_ir as ir

from itr_deploy.bundle.store import Bundle, list_files, text_files, write_manifest
from itr_deploy.export.weights import WeightsFile

BFLOAT16, FLOAT = ir.DataType.BFLOAT16, ir.DataType.FLOAT


def write_emulated(bundle: Bundle, root: Path) -> None:
    """Write a bundle that computes what a bfloat16 one does, into an empty directory.

    Every operator with a bfloat16 result becomes the float32 one, and its result is rounded to
    bfloat16: the graphs are the exported ones in everything else.
    """
    manifest = bundle.manifest
    for name in text_files(manifest.text_processing):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(bundle.file(name), root / name)
    first = next(iter(manifest.graphs.values()))
    weights = (root / first.file).parent / "emulated.bin"
    weights.parent.mkdir(parents=True, exist_ok=True)
    with WeightsFile(weights) as shared:
        for info in manifest.graphs.values():
            model = ir.load(bundle.file(info.file))
            _emulate(model.graph)
            shared.take(model)
            ir.save(model, root / info.file)
    changed = {"precision": "float32", "files": list_files(root)}
    write_manifest(root, manifest.model_copy(update=changed))


def _emulate(graph: ir.Graph) -> None:
    for value in graph.initializers.values():
        if value.dtype == BFLOAT16 and value.const_value is not None:
            wide = value.const_value.numpy().astype(np.float32)
            value.const_value = ir.tensor(wide, name=value.name)
            value.type = ir.TensorType(FLOAT)
    for node in list(graph):
        for value in node.outputs:
            if value.dtype == BFLOAT16:
                _round(graph, node, value)


def _round(graph: ir.Graph, node: ir.Node, value: ir.Value) -> None:
    """Let a node give float32, and round what it gives."""
    value.type = ir.TensorType(FLOAT)
    if node.op_type == "Cast":
        node.attributes["to"] = ir.AttrInt64("to", FLOAT.value)
    narrow = _cast(value, BFLOAT16, "narrow")
    wide = _cast(narrow.outputs[0], FLOAT, "wide")
    users = [(user, index) for user, index in value.uses() if user is not narrow]
    for user, index in users:
        user.replace_input_with(index, wide.outputs[0])
    graph.insert_after(node, [narrow, wide])


def _cast(value: ir.Value, dtype: ir.DataType, suffix: str) -> ir.Node:
    cast = ir.node("Cast", [value], attributes={"to": dtype.value})
    out = cast.outputs[0]
    out.name, out.shape, out.type = f"{value.name}_{suffix}", value.shape, ir.TensorType(dtype)
    return cast
