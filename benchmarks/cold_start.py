"""Cold starts: fresh processes that import, show their help, find a first hit, and export a model.

    python -m benchmarks.cold_start [--rounds 5] [--against DIRECTORY]

The model is the IMRAM of `examples/shapes`; its export is timed by the steps that the command tells
of, from the start of the process to its end. The first hit is a caption's over 1,000 images. With
``--against``, a checkout of another commit (`git worktree add DIRECTORY COMMIT`) does the same, and
the two take turns. Files are in the cache: a first round is not counted. Prints the medians,
seconds of the clock and, for whole processes, of the processor; writes
benchmarks/results/cold_start.json.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.matching import RESULTS
from itr_deploy.bundle.files import write_json

HERE = Path(__file__).resolve().parent.parent
CHECKPOINTS = HERE / "examples" / "shapes" / "checkpoints" / "imram"
IMAGES, REGIONS = 1000, 36
COMMAND = ("-c", "from itr_deploy.cli.main import main; main()")
MADE = """
import sys
import numpy as np
from itr_deploy import Gallery, Matcher
matcher, (images, regions) = Matcher.load(sys.argv[1]), map(int, sys.argv[3:])
shape = images, regions, matcher.bundle.manifest.images.feature_dim
features = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
names = [f"image{number}" for number in range(images)]
Gallery.create(sys.argv[2], matcher).add(names, features)
"""
"""What makes a gallery: of a bundle, at a place, so many images of so many regions."""
GRAPHS = "graphs from what scores pairs"
STEPS = {
    "loading PyTorch": "imports",
    "reading": "checkpoint and vocabulary",
    "graph image_encoder": "trace of the image encoder",
    "graph text_encoder": "trace of the text encoder",
    "what scores pairs": "trace of what scores pairs",
    "graph": GRAPHS,
    "checksums": GRAPHS,
    "outputs": "parity: outputs",
    "independence": "parity: batch and padding",
    "ranks": "parity: ranks, and the end",
}
"""A line of the table for the steps that begin with a word; the first that fits."""

Times = dict[str, float]


@dataclass(frozen=True)
class Side:
    """A checkout whose processes are timed, and its name in the table."""

    name: str
    checkout: Path


def main() -> None:
    """Time every process of one checkout, or of two by turns."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--against", type=Path, help="a checkout of another commit")
    arguments = parser.parse_args()
    sides = [Side("this", HERE)]
    if arguments.against is not None:
        sides.insert(0, Side("other", arguments.against.resolve()))
    with tempfile.TemporaryDirectory() as folder:
        times = measure(sides, arguments.rounds, Path(folder))
    report(times, arguments.rounds)


def measure(sides: list[Side], rounds: int, folder: Path) -> dict[str, Times]:
    """The medians of every side, in the order of the sides' turns."""
    for side in sides:
        _exported(side, folder / f"{side.name} bundle")
        _made_gallery(side, folder)
    taken: dict[str, list[Times]] = {side.name: [] for side in sides}
    for number in range(1 + rounds):  # the first round fills the system's cache
        for side in sides:
            found = _started(side, folder)
            if number:
                taken[side.name].append(found)
    return {
        name: {what: statistics.median(one[what] for one in found) for what in found[0]}
        for name, found in taken.items()
    }


def _made_gallery(side: Side, folder: Path) -> None:
    """A gallery by the checkout itself: an older one may not read a newer one's bundles."""
    files = [str(folder / f"{side.name} {what}") for what in ("bundle", "gallery")]
    _run(side, "gallery", "-c", MADE, *files, str(IMAGES), str(REGIONS))


def _started(side: Side, folder: Path) -> Times:
    """One process of each kind."""
    bundle, gallery = (str(folder / f"{side.name} {what}") for what in ("bundle", "gallery"))
    search = ("search", bundle, "a small red circle", "--gallery", gallery)
    return {
        **_run(side, "import itr_deploy", "-c", "import itr_deploy"),
        **_run(side, "itr-deploy --help", *COMMAND, "--help"),
        **_run(side, "itr-deploy search", *COMMAND, *search),
        **_exported(side, folder / side.name),
    }


def _exported(side: Side, output: Path) -> Times:
    checkpoint, vocab = (
        str(CHECKPOINTS / name) for name in ("model_best.pth.tar", "shapes_vocab.json")
    )
    files = ("--checkpoint", checkpoint, "--vocab", vocab, "--output", str(output), "--force")
    return _run(side, "itr-deploy export imram", *COMMAND, "export", "imram", *files)


def _run(side: Side, what: str, *arguments: str) -> Times:
    """Seconds of a process, of its steps as it tells of them on standard error, and of its cores.

    Raises:
        CalledProcessError: It failed.
    """
    environment = {**os.environ, "PYTHONPATH": str(side.checkout), "PYTHONUNBUFFERED": "1"}
    before, start = _processor_seconds(), time.perf_counter()
    with subprocess.Popen(
        [sys.executable, *arguments],
        cwd=side.checkout,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        told = [(time.perf_counter(), line) for line in process.stderr]
    end = time.perf_counter()
    if process.returncode:
        raise subprocess.CalledProcessError(
            process.returncode, arguments, stderr="".join(line for _, line in told)
        )
    steps = [(start, "start")] + [
        (at, line.removeprefix("- ")) for at, line in told if line.startswith("- ")
    ]
    ends = [at for at, _ in steps[1:]] + [end]
    found = {what: end - start, f"{what}, processor": _processor_seconds() - before}
    for (begun, step), ended in zip(steps[1:], ends[1:], strict=True):
        name = next((name for first, name in STEPS.items() if step.startswith(first)), step)
        key = f"{what}: {name}"
        found[key] = found.get(key, 0) + ended - begun
    return found


def _processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def report(times: Mapping[str, Times], rounds: int) -> None:
    """Print the table and write the JSON."""
    table = Table(title="cold starts, seconds")
    table.add_column("what")
    for name in times:
        table.add_column(name, justify="right")
    both = len(times) > 1
    if both:
        table.add_column("this / other", justify="right")
    sides = list(times.values())
    ratios = {what: sides[-1][what] / sides[0][what] for what in sides[-1] if what in sides[0]}
    for what in sides[-1]:
        row = [f"{side[what]:.2f}" if what in side else "" for side in sides]
        table.add_row(what, *row, *([f"{ratios[what]:.2f}"] if both and what in ratios else []))
    Console().print(table)
    Console().print(
        f"medians of {rounds} processes each; {platform.machine()}, {os.cpu_count()} cores"
    )
    result = {"rounds": rounds, "machine": platform.machine(), "seconds": times, "ratio": ratios}
    write_json(RESULTS / "cold_start.json", result)


if __name__ == "__main__":
    main()
