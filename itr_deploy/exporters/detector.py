"""From a detector's network to the files of its bundle."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from itr_deploy.bundle.detector import DetectorManifest
from itr_deploy.bundle.files import canonical_json, sha256_of
from itr_deploy.bundle.manifest import GraphInfo, Precision
from itr_deploy.bundle.store import list_files, write_manifest
from itr_deploy.exporters.build import GRAPHS, WEIGHTS, provenance_of, write_graph
from itr_deploy.exporters.specs import Axes, GraphSpec, GraphTensor
from itr_deploy.exporters.weights import WeightsFile
from itr_deploy.models.detector.config import STRIDE, DetectorConfig
from itr_deploy.models.detector.deployed import graphs_of
from itr_deploy.models.detector.network import Network
from itr_deploy.models.detector.settings import Settings

CHUNK = 50
"""Regions a call: 50 take 80 MB a layer at published sizes, 300 half a gigabyte."""

MAP: Axes = ("rows", "columns")

Progress = Callable[[str], None]


@dataclass(frozen=True)
class DetectorSource:
    """What is exported: the checkpoint file, its network, and how it is run."""

    checkpoint: Path
    network: Network
    settings: Settings


def build_detector(
    source: DetectorSource,
    root: Path,
    *,
    opset: int,
    precision: Precision = "float32",
    progress: Progress = lambda step: None,
) -> DetectorManifest:
    """Write graphs, weights and manifest into an empty directory.

    Args:
        source: What to export.
        root: The directory.
        opset: ONNX operator set of the graphs.
        precision: Type of their products.
        progress: Called with the name of each step as it begins.

    Returns:
        The manifest that was written.

    Raises:
        SetupError: A graph cannot be had in this operator set.
    """
    config = source.network.config
    specs = (detector_spec(config), regions_spec(config))
    modules: tuple[nn.Module, ...] = graphs_of(source.network, source.settings.sides.longest)
    graphs: dict[str, GraphInfo] = {}
    (root / GRAPHS).mkdir()
    with WeightsFile(root / GRAPHS / WEIGHTS) as weights:
        for spec, module in zip(specs, modules, strict=True):
            progress(f"graph {spec.role}")
            graphs[spec.role] = write_graph(module, spec, root, opset, precision, weights)
    progress("checksums and manifest")
    manifest = _manifest(source, graphs, precision, root)
    write_manifest(root, manifest)
    return manifest


def detector_spec(config: DetectorConfig) -> GraphSpec:
    """``image`` -> ``res4``, ``scores`` and ``deltas``; an anchor's are in the order (y, x, a)."""
    return GraphSpec(
        "detector",
        (_tensor("image", "batch", 3, "height", "width"),),
        (
            _tensor("res4", "batch", config.map_channels, *MAP),
            _tensor("scores", "batch", "anchors"),
            _tensor("deltas", "batch", "anchors", 4),
        ),
    )


def regions_spec(config: DetectorConfig) -> GraphSpec:
    """``res4`` of one picture and ``boxes`` of it -> features, probabilities, deltas."""
    outputs = [
        _tensor("features", "regions", config.feature_dim),
        _tensor("class_probabilities", "regions", config.class_scores),
    ]
    if config.attributes is not None:
        width = config.attribute_probabilities
        outputs.append(_tensor("attribute_probabilities", "regions", width))
    if not config.is_caffe:
        outputs.append(_tensor("deltas", "regions", 4 * config.classes))
    inputs = (_tensor("res4", 1, config.map_channels, *MAP), _tensor("boxes", "regions", 4))
    return GraphSpec("regions", inputs, tuple(outputs))


def _tensor(name: str, *axes: int | str) -> GraphTensor:
    return GraphTensor(name, torch.float32, axes)


def _manifest(
    source: DetectorSource, graphs: dict[str, GraphInfo], precision: Precision, root: Path
) -> DetectorManifest:
    config, settings = source.network.config, source.settings
    checkpoint_hash = sha256_of(source.checkpoint)
    identity = {
        "checkpoint": checkpoint_hash,
        "dialect": config.dialect,
        "sides": settings.sides.model_dump(mode="json"),
        "proposals": settings.proposals.model_dump(mode="json"),
        "selection": settings.selection.model_dump(mode="json"),
    }
    return DetectorManifest(
        dialect=config.dialect,
        precision=precision,
        sides=settings.sides,
        proposals=settings.proposals,
        selection=settings.selection,
        anchors=config.anchors,
        stride=STRIDE,
        feature_dim=config.feature_dim,
        classes=config.classes,
        attributes=config.attribute_count,
        chunk=CHUNK,
        graphs=graphs,
        encoding_id=hashlib.sha256(canonical_json(identity)).hexdigest(),
        provenance=provenance_of(source.checkpoint.name, checkpoint_hash),
        files=list_files(root),
    )
