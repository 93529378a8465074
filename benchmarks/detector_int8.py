"""What 8 bits would do to a region detector's second graph, where nearly all of its time goes.

    python -m benchmarks.detector_int8 [--rounds 2]

ONNX Runtime's own quantisation of the convolutions, a scale per output channel, activations
calibrated on the first picture. In one run, in turn: both forms over a picture's proposals, the
ratio of their times, and how far the features turn: of published sizes with random weights, for the
time, and of the detector of `examples/pictures`, which was trained, for the features.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx_ir as ir
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.detectors import CAFFE_SETTINGS, published_detector, published_network
from examples.pictures.train_detector import CHECKPOINT, PROPOSALS, SIDE
from examples.shapes.make_data import picture_and_captions
from itr_deploy import Detector
from itr_deploy.models.detector.checkpoint import read_network
from itr_deploy.models.detector.settings import Given, settings_of
from itr_deploy.parity.scene import made_scene
from itr_deploy.runtime.backends.importing import import_onnxruntime
from itr_deploy.runtime.backends.sessions import open_session
from itr_deploy.runtime.cpus import default_threads
from itr_deploy.runtime.detector.networks import Networks
from itr_deploy.runtime.detector.preparing import prepared
from itr_deploy.runtime.detector.proposals import proposed

Inputs = dict[str, NDArray[np.float32]]


class OnePicture:
    """The chunks of one picture, to see the ranges of activations."""

    def __init__(self, chunks: list[Inputs]) -> None:
        self._chunks = iter(chunks)

    def get_next(self) -> Inputs | None:
        """The next chunk."""
        return next(self._chunks, None)


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=2)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    table = Table(title="the regions graph of a picture, float32 and int8")
    for name in ("detector", "float32 s", "int8 s", "float32 / int8", "1 - cosine of features"):
        table.add_column(name, justify="left" if name == "detector" else "right")
    published = published_network("bua-caffe"), CAFFE_SETTINGS
    small = Given(proposals=PROPOSALS, shortest_side=SIDE, longest_side=2 * SIDE)
    shapes = read_network(CHECKPOINT), settings_of("bua-caffe", None, small)
    scenes = [np.asarray(picture_and_captions("test", n)[0]) for n in range(20)]
    for name, (network, settings), pictures in (
        ("published sizes", published, [made_scene()] * (1 + arguments.rounds)),
        ("examples/pictures", shapes, scenes),
    ):
        with tempfile.TemporaryDirectory() as folder:
            detector = Detector.load(published_detector(network, settings, Path(folder)))
            plain, rounded, turned = measured(detector, pictures, Path(folder))
        times = f"{plain:.3f}", f"{rounded:.3f}", f"{plain / rounded:.2f}"
        table.add_row(name, *times, f"{turned:.1e}")
    Console(width=100).print(table)


def measured(
    detector: Detector, pictures: list[NDArray[np.uint8]], folder: Path
) -> tuple[float, float, float]:
    """Median seconds of both forms over a picture, and how far features turn on average."""
    runtime = import_onnxruntime()
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    first, *others = (_chunks(detector, picture) for picture in pictures)
    graph = detector.bundle.file("graphs/regions.onnx")
    whole, ready, rounded = (folder / f"{name}.onnx" for name in ("whole", "ready", "int8"))
    model = ir.load(graph)
    ir.external_data.load_to_model(model)
    ir.save(model, whole)
    quant_pre_process(str(whole), str(ready), skip_symbolic_shape=True)
    quantize_static(
        str(ready),
        str(rounded),
        OnePicture(first),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=["Conv"],
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )
    options = runtime.SessionOptions()
    options.intra_op_num_threads = default_threads()
    sessions = [open_session(file, options) for file in (graph, rounded)]
    seconds: list[list[float]] = [[], []]
    turned = []
    for chunks in others:
        features = []
        for session, own in zip(sessions, seconds, strict=True):
            began = time.perf_counter()
            found = [session.run(["features"], chunk)[0] for chunk in chunks]
            own.append(time.perf_counter() - began)
            features.append(np.concatenate(found))
        plain, other = (one / np.linalg.norm(one, axis=1, keepdims=True) for one in features)
        turned.append(float(1 - (plain * other).sum(axis=1).mean()))
    return statistics.median(seconds[0]), statistics.median(seconds[1]), statistics.mean(turned)


def _chunks(detector: Detector, pixels: NDArray[np.uint8]) -> list[Inputs]:
    """What the second graph is given for a picture."""
    manifest = detector.bundle.manifest
    networks = Networks(detector.backend, manifest)
    ready = prepared(pixels, "picture", manifest.dialect, manifest.sides)
    (seen,) = networks.seen([ready.image])
    boxes = proposed(seen.candidates, manifest, ready.resized, ready.scale).boxes
    return [
        {"res4": seen.res4, "boxes": boxes[start : start + manifest.chunk]}
        for start in range(0, len(boxes), manifest.chunk)
    ]


if __name__ == "__main__":
    main()
