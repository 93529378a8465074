"""A bundle of a region detector that is made in no time: two graphs of a few random weights."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from itr_deploy.bundle.detector import DetectorManifest, Dialect
from itr_deploy.bundle.manifest import GraphInfo, TensorInfo
from itr_deploy.bundle.store import list_files, write_manifest
from tests.support.exports import Bundles
from tests.support.region_cases import BUA_CAFFE, FRCNN_VG

if TYPE_CHECKING:
    import onnx

Shape = tuple[int | str, ...]
CHANNELS, CLASSES, ATTRIBUTES, OPSET = 4, 6, 5, 18


def tiny_detector_of(bundles: Bundles, **options: Any) -> Path:
    """A tiny detector's bundle that tests share; do not change it."""
    make = partial(tiny_detector, **options)
    return bundles.once("tiny_detector", make, Path(__file__), json.dumps(options))


def tiny_detector(
    root: Path,
    dialect: Dialect = "bua-caffe",
    *,
    feature_dim: int = 8,
    attributes: bool = True,
    **settings: object,
) -> Path:
    """Write the bundle.

    Args:
        root: Its directory, which does not exist.
        dialect: Its conventions.
        feature_dim: Width of a feature.
        attributes: Whether it has an attribute head.
        **settings: Other parts of the manifest.
    """
    pytest.importorskip("onnx", reason="what is not in the cache is built with onnx")
    (root / "graphs").mkdir(parents=True)
    port = dialect == "frcnn-vg"
    base = (FRCNN_VG if port else BUA_CAFFE).manifest
    rng = np.random.default_rng(5)
    anchors = len(base.anchors)
    heads = {"class_probabilities": CLASSES + 1}
    if attributes:
        heads["attribute_probabilities"] = ATTRIBUTES + (not port)
    if port:
        heads["deltas"] = 4 * CLASSES
    graphs = {
        "detector": _write(
            root,
            "detector",
            _picture_graph(rng, anchors, port),
            {"image": ("batch", 3, "height", "width")},
            {
                "res4": ("batch", CHANNELS, "rows", "columns"),
                "scores": ("batch", "anchors"),
                "deltas": ("batch", "anchors", 4),
            },
        ),
        "regions": _write(
            root,
            "regions",
            _regions_graph(rng, feature_dim, heads),
            {"res4": (1, CHANNELS, "rows", "columns"), "boxes": ("regions", 4)},
            {
                "features": ("regions", feature_dim),
                **{name: ("regions", width) for name, width in heads.items()},
            },
        ),
    }
    changes = {
        "graphs": graphs,
        "feature_dim": feature_dim,
        "classes": CLASSES,
        "attributes": ATTRIBUTES if attributes else None,
        "chunk": 20,
        "encoding_id": "tiny",
        "files": list_files(root),
        **settings,
    }
    write_manifest(root, DetectorManifest(**{**dict(base), **changes}))
    return root


def _picture_graph(
    rng: np.random.Generator, anchors: int, port: bool
) -> tuple[list[onnx.NodeProto], dict[str, np.ndarray]]:
    from onnx.helper import make_node as node

    nodes = [
        node("Conv", ["image", "look"], ["map"], strides=[16, 16], auto_pad="SAME_UPPER"),
        node("Relu", ["map"], ["res4"]),
        node("Conv", ["res4", "judge"], ["judged"]),
        node("Transpose", ["judged"], ["by_place"], perm=[0, 2, 3, 1]),
        node("Reshape", ["by_place", "flat"], ["scores" if port else "logits"]),
        *([] if port else [node("Sigmoid", ["logits"], ["scores"])]),
        node("Conv", ["res4", "move"], ["moved"]),
        node("Transpose", ["moved"], ["moves"], perm=[0, 2, 3, 1]),
        node("Reshape", ["moves", "boxes"], ["deltas"]),
    ]
    weights = {
        "look": rng.normal(size=(CHANNELS, 3, 16, 16)) / 1000,
        "judge": rng.normal(size=(anchors, CHANNELS, 1, 1)),
        "move": rng.normal(size=(4 * anchors, CHANNELS, 1, 1)) / 5,
        "flat": np.array([0, -1]),
        "boxes": np.array([0, -1, 4]),
    }
    return nodes, weights


def _regions_graph(
    rng: np.random.Generator, feature_dim: int, heads: dict[str, int]
) -> tuple[list[onnx.NodeProto], dict[str, np.ndarray]]:
    from onnx.helper import make_node as node

    nodes = [
        node("GlobalAveragePool", ["res4"], ["mean"]),
        node("Reshape", ["mean", "one"], ["seen"]),
        node("MatMul", ["seen", "of_picture"], ["picture"]),
        node("MatMul", ["boxes", "of_boxes"], ["place"]),
        node("Add", ["place", "picture"], ["both"]),
        node("Relu", ["both"], ["features"]),
    ]
    weights = {
        "one": np.array([1, CHANNELS]),
        "of_picture": rng.normal(size=(CHANNELS, feature_dim)),
        "of_boxes": rng.normal(size=(4, feature_dim)) / 50,
    }
    for name, width in heads.items():
        weights[f"w_{name}"] = rng.normal(size=(feature_dim, width))
        if name == "deltas":
            nodes.append(node("MatMul", ["features", "w_deltas"], ["deltas"]))
        else:
            nodes.append(node("MatMul", ["features", f"w_{name}"], [f"l_{name}"]))
            nodes.append(node("Softmax", [f"l_{name}"], [name], axis=1))
    return nodes, weights


def _write(
    root: Path,
    name: str,
    content: tuple[list[onnx.NodeProto], dict[str, np.ndarray]],
    inputs: dict[str, Shape],
    outputs: dict[str, Shape],
) -> GraphInfo:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes, weights = content
    tensors = [
        numpy_helper.from_array(
            value if value.dtype == np.int64 else value.astype(np.float32), called
        )
        for called, value in weights.items()
    ]
    ends = [
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n, shape in part.items()]
        for part in (inputs, outputs)
    ]
    graph = helper.make_graph(nodes, name, *ends, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
    onnx.checker.check_model(model)
    file = f"graphs/{name}.onnx"
    onnx.save(model, root / file)
    return GraphInfo(
        role=name,
        file=file,
        opset=OPSET,
        inputs=tuple(TensorInfo(name=n, dtype="float32", shape=s) for n, s in inputs.items()),
        outputs=tuple(TensorInfo(name=n, dtype="float32", shape=s) for n, s in outputs.items()),
    )
