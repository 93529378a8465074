"""One text query over a gallery: this checkout against another one, by turns.

    git worktree add ../before COMMIT
    python -m benchmarks.turns ../before [--images 1000] [--rounds 60]

IMRAM in text mode at its published sizes (see benchmarks/models.py), the same random weights and
images on both sides; each exports its own bundle, makes its own gallery and searches it with its
own defaults, in a process of its own. Both get the same queries, none twice, one after the other.
Prints the median in all, of every stage the first tenth of the turns, and the median of their
ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, TextIO

# Run by its path for the other side, whose checkout the rest is imported from.

HERE = Path(__file__).resolve().parent.parent
WORDS, WARM = 12, 5
"""Words in a query; queries before those that count."""


def main() -> None:
    """Measure both sides, or be one of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("other", type=Path, help="the other checkout")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--side", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        answer(arguments)
    else:
        report(measure(arguments))


def measure(arguments: argparse.Namespace) -> dict[str, list[dict[str, float]]]:
    """Seconds of every stage and in all, ``total``, of every query, by side."""
    roots = {"other": arguments.other.resolve(), "this": HERE}
    processes = {name: _started(root, arguments) for name, root in roots.items()}
    found: dict[str, list[dict[str, float]]] = {name: [] for name in roots}
    try:
        for process in processes.values():
            _asked(process, "")  # until it is loaded
        for query in queries(WARM + arguments.rounds):
            for name, process in processes.items():
                found[name].append(_asked(process, query))
    finally:
        for process in processes.values():
            process.terminate()
            process.wait()
    return {name: taken[WARM:] for name, taken in found.items()}


def queries(count: int) -> list[str]:
    """Texts of the benchmarks' random vocabulary."""
    import numpy as np

    rng = np.random.default_rng(2)
    return [" ".join(f"word{n}" for n in rng.integers(0, 500, WORDS)) for _ in range(count)]


def _started(root: Path, arguments: argparse.Namespace) -> subprocess.Popen[str]:
    command = [sys.executable, __file__, str(root), "--side", "--images", str(arguments.images)]
    return subprocess.Popen(
        [*command, "--threads", str(arguments.threads)],
        env={**os.environ, "PYTHONPATH": str(root)},
        cwd=root,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _asked(process: subprocess.Popen[str], query: str) -> dict[str, float]:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{query}\n")
    process.stdin.flush()
    line = process.stdout.readline()
    if not line:
        raise SystemExit("one of the sides ended; what it wrote is above")
    taken: dict[str, float] = json.loads(line)
    return taken


def answer(arguments: argparse.Namespace) -> None:
    """One side: a query a line in, the seconds of its stages a line out."""
    replies, sys.stdout = sys.stdout, sys.stderr
    with tempfile.TemporaryDirectory() as folder:
        retriever = _retriever(arguments, Path(folder))
        for line in sys.stdin:
            _reply(replies, _timed(retriever, line.strip()) if line.strip() else {})


def _reply(replies: TextIO, taken: dict[str, float]) -> None:
    replies.write(json.dumps(taken) + "\n")
    replies.flush()


def _timed(retriever: Any, query: str) -> dict[str, float]:
    from itr_deploy.runtime.timing import timed_stages

    with timed_stages() as times:
        begun = time.perf_counter()
        retriever.search(query)
        total = time.perf_counter() - begun
    return {**times.seconds, "total": total}


def _retriever(arguments: argparse.Namespace, folder: Path) -> Any:
    import numpy as np
    import torch

    import itr_deploy
    from benchmarks.matching import exported
    from benchmarks.models import IMAGE_DIM, REGIONS, random_imram

    assert Path(itr_deploy.__file__).is_relative_to(arguments.other), itr_deploy.__file__
    torch.manual_seed(0)
    options = argparse.Namespace(
        family="imram", mode="text_IMRAM", steps=3, precompute="full", threads=arguments.threads
    )
    matcher = exported(options, random_imram(options), folder)
    rng = np.random.default_rng(0)
    regions = rng.standard_normal((arguments.images, REGIONS, IMAGE_DIM), dtype=np.float32)
    gallery = itr_deploy.Gallery.create(folder / "gallery", matcher)
    gallery.add([f"image{number}" for number in range(len(regions))], regions)
    return itr_deploy.Retriever(matcher, gallery)


def report(found: dict[str, list[dict[str, float]]]) -> None:
    """Print what both sides took, and the ratios."""
    for name, taken in found.items():
        stages = dict.fromkeys(stage for one in taken for stage in one if stage != "total")
        told = [f"{statistics.median(1000 * one['total'] for one in taken):.1f} ms"]
        for stage in stages:
            rising = sorted(1000 * one.get(stage, 0.0) for one in taken)
            told.append(f"{stage} {rising[len(rising) // 10]:.1f}")
        print(f"{name:6}", ", ".join(told))
    ratios = sorted(
        before["total"] / now["total"]
        for before, now in zip(found["other"], found["this"], strict=True)
    )
    tenth = len(ratios) // 10
    print(
        f"this is {statistics.median(ratios):.2f} times as fast; nine tenths of {len(ratios)} "
        f"turns are between {ratios[tenth // 2]:.2f} and {ratios[-1 - tenth // 2]:.2f}"
    )


if __name__ == "__main__":
    main()
