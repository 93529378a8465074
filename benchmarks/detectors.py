"""Region detectors at published sizes, with random weights."""

from __future__ import annotations

from pathlib import Path

import torch

from itr_deploy.bundle.detector import Dialect, Four
from itr_deploy.bundle.files import write_file
from itr_deploy.bundle.manifest import Precision
from itr_deploy.exporters.detector import DetectorSource, build_detector
from itr_deploy.models.detector.config import AttributeHead, DetectorConfig, Stage
from itr_deploy.models.detector.network import Bottleneck, Network
from itr_deploy.models.detector.settings import PROPOSALS, SELECTION, SIDES, Settings
from itr_deploy.models.registry import DEFAULT_OPSET

CAFFE_SETTINGS = Settings(SIDES, PROPOSALS, SELECTION)
VG_SETTINGS = Settings(
    SIDES.model_copy(update={"shortest": 800, "longest": 1333}),
    PROPOSALS.model_copy(update={"min_side": 0.0}),
    SELECTION.model_copy(
        update={"overlaps": (0.5,), "confidence": None, "delta_weights": (10.0, 10.0, 5.0, 5.0)}
    ),
)


def caffe_anchors() -> tuple[Four, ...]:
    """The published cell anchors: three forms, each in four sizes."""
    forms = ((23, 12), (16, 16), (11, 22))
    return tuple(
        tuple(7.5 + sign * (side * size - 1) / 2 for sign in (-1, 1) for side in form)  # type: ignore[misc]
        for form in forms
        for size in (4, 8, 16, 32)
    )


def published_network(dialect: Dialect = "bua-caffe") -> Network:
    """ResNet-101 with all heads, weights random."""
    config = DetectorConfig(
        dialect=dialect,
        stem=64,
        stages=(Stage(3, 64, 256), Stage(4, 128, 512), Stage(23, 256, 1024)),
        head=Stage(3, 512, 2048),
        hidden=512,
        anchors=caffe_anchors(),
        class_scores=1601,
        attributes=AttributeHead(embedding=256, hidden=512, scores=401),
    )
    network = Network(config)
    for block in network.modules():
        if isinstance(block, Bottleneck):
            # Sums of 30 blocks stay of the size of one.
            torch.nn.init.constant_(block.conv3.norm.weight, 0.2)
    return network.eval()


def published_detector(
    network: Network, settings: Settings, root: Path, precision: Precision = "float32"
) -> Path:
    """Write a detector's bundle below ``root``; it is not compared with PyTorch."""
    checkpoint = root / "checkpoint"
    write_file(checkpoint, "random weights")
    place = root / f"{network.config.dialect}-{precision}"
    place.mkdir()
    source = DetectorSource(checkpoint, network, settings)
    build_detector(source, place, opset=DEFAULT_OPSET, precision=precision)
    return place
