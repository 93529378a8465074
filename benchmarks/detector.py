"""A region detector's seconds a picture by stage, beside the plain PyTorch form in the same run.

    python -m benchmarks.detector [--rounds 2] [--proposals 150 100 50]
    python -m benchmarks.detector --checkpoint k36.pth [--config config.yaml] --pictures photos/

Published sizes. Without a checkpoint the weights are random: times are those of any, but what fewer
proposals do to the regions is a trained detector's to say. In one run, in turn: each stage of a
bundle as it is run (numpy and ONNX Runtime), and of the published program in PyTorch.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.detectors import (
    CAFFE_SETTINGS,
    VG_SETTINGS,
    published_detector,
    published_network,
)
from itr_deploy import Detector
from itr_deploy.models.detector.checkpoint import read_network
from itr_deploy.models.detector.plain import PlainDetector
from itr_deploy.models.detector.settings import Given, settings_of
from itr_deploy.parity.scene import made_scene
from itr_deploy.runtime.cpus import default_threads
from itr_deploy.runtime.detector.detection import Detection
from itr_deploy.runtime.detector.geometry import overlaps
from itr_deploy.runtime.detector.networks import Networks
from itr_deploy.runtime.detector.preparing import prepared
from itr_deploy.runtime.detector.proposals import proposed
from itr_deploy.runtime.detector.selection import selected
from itr_deploy.runtime.pictures.decode import decoded
from itr_deploy.runtime.pictures.folder import picture_files

T = TypeVar("T")
Pixels = NDArray[np.uint8]

STAGES = ("prepare", "dense graph", "proposals", "regions graph", "selection")


class Clock:
    """Seconds of each stage, round by round."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {stage: [] for stage in STAGES}

    def __call__(self, stage: str, work: Callable[[], T]) -> T:
        """What some work gives; its time is the stage's."""
        began = time.perf_counter()
        found = work()
        self.seconds[stage].append(time.perf_counter() - began)
        return found

    def median(self, stage: str) -> float:
        """Seconds of a stage."""
        return statistics.median(self.seconds[stage])


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dialect", default="bua-caffe", choices=["bua-caffe", "frcnn-vg"])
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--config", type=Path)
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--proposals", type=int, nargs="*", default=[150, 100, 50])
    arguments = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(default_threads())
    if arguments.checkpoint is None:
        network = published_network(arguments.dialect)
        settings = CAFFE_SETTINGS if arguments.dialect == "bua-caffe" else VG_SETTINGS
    else:
        network = read_network(arguments.checkpoint)
        settings = settings_of(network.config.dialect, arguments.config, Given())
    pictures = _pictures(arguments.pictures, arguments.rounds)
    plain = PlainDetector(network, settings)
    with tempfile.TemporaryDirectory() as folder:
        detector = Detector.load(published_detector(network, settings, Path(folder)))
        ours, theirs = Clock(), Clock()
        count = 0
        looked_at(detector, pictures[0], Clock())  # sessions are made on first use
        for picture in pictures:
            count = looked_at(detector, picture, ours)
            looked_at_plainly(plain, picture, theirs)
        Console(width=100).print(_times(ours, theirs, pictures[0], count))
        if arguments.proposals:
            Console(width=100).print(_fewer(detector, pictures, arguments.proposals))


def looked_at(detector: Detector, pixels: Pixels, clock: Clock) -> int:
    """Run a bundle stage by stage, as `Detector` does; the number of proposals."""
    manifest = detector.bundle.manifest
    dialect = manifest.dialect
    networks = Networks(detector.backend, manifest)
    ready = clock("prepare", lambda: prepared(pixels, "picture", dialect, manifest.sides))
    (seen,) = clock("dense graph", lambda: list(networks.seen([ready.image])))
    found = clock(
        "proposals", lambda: proposed(seen.candidates, manifest, ready.resized, ready.scale)
    )
    judged = clock("regions graph", lambda: networks.judged(seen.res4, found.boxes))
    clock("selection", lambda: selected(found.boxes, judged, ready, dialect, manifest.selection))
    return len(found.boxes)


def looked_at_plainly(plain: PlainDetector, pixels: Pixels, clock: Clock) -> None:
    """Run the published program stage by stage."""
    picture = torch.from_numpy(np.array(pixels))
    ready = clock("prepare", lambda: plain.prepared(picture))
    dense = clock("dense graph", lambda: plain.dense(ready.image))
    boxes, _ = clock("proposals", lambda: plain.proposals(ready, dense))
    heads = clock("regions graph", lambda: plain.heads(dense.res4, boxes))
    clock("selection", lambda: plain.selected(ready, boxes, heads))


def _pictures(folder: Path | None, count: int) -> list[Pixels]:
    if folder is None:
        return [made_scene()] * count
    paths = list(picture_files(folder).values())[:count]
    return [decoded(path, str(path), transparent="ignored") for path in paths]


def _times(ours: Clock, theirs: Clock, picture: Pixels, proposals: int) -> Table:
    height, width = picture.shape[:2]
    title = (
        f"seconds a picture of {width} x {height}, {proposals} proposals, "
        f"{default_threads()} threads"
    )
    table = Table(title=title)
    table.add_column("stage")
    for name in ("bundle", "PyTorch", "PyTorch / bundle"):
        table.add_column(name, justify="right")
    rows = [(stage, ours.median(stage), theirs.median(stage)) for stage in STAGES]
    rows.append(("a picture", sum(row[1] for row in rows), sum(row[2] for row in rows)))
    for stage, own, other in rows:
        table.add_row(stage, f"{own:.2f}", f"{other:.2f}", f"{other / own:.2f}")
    return table


def _fewer(detector: Detector, pictures: list[Pixels], counts: list[int]) -> Table:
    """What fewer proposals do to the regions that are found."""
    table = Table(title="fewer proposals, against all of them")
    columns = ("proposals", "seconds", "regions found again", "cosine of the mean feature")
    for name in columns:
        table.add_column(name, justify="right")
    distinct = list({picture.tobytes(): picture for picture in pictures}.values())
    whole = detector.detect(distinct)
    for count in counts:
        began = time.perf_counter()
        found = detector.detect(distinct, proposals=count)
        seconds = (time.perf_counter() - began) / len(distinct)
        pairs = list(zip(whole, found, strict=True))
        again = np.mean([_found_again(one, other) for one, other in pairs])
        cosine = np.mean([_cosine(one, other) for one, other in pairs])
        table.add_row(str(count), f"{seconds:.1f}", f"{again:.0%}", f"{cosine:.4f}")
    return table


def _found_again(whole: Detection, found: Detection) -> float:
    shared = overlaps(whole.boxes[:, None], found.boxes[None], 0)
    return float((shared.max(axis=1) > 0.9).mean())


def _cosine(whole: Detection, found: Detection) -> float:
    one, other = whole.features.mean(axis=0), found.features.mean(axis=0)
    return float(one @ other / (np.linalg.norm(one) * np.linalg.norm(other)))


if __name__ == "__main__":
    main()
