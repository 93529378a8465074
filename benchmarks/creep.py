"""Whether memory creeps up when no two searches have the same shapes.

    python -m benchmarks.creep [--seconds 20] [--threads 1 8]

IMRAM in text mode at its published sizes, random weights, a gallery of random images and one of
random captions in memory, one matcher for both. Texts, batches, regions, and widths of prefilter
and shortlist are drawn anew for every search, and one search in five is by image. For comparison,
the same runs with a single shape. Each case runs in a separate process, so that its memory can be
measured. It begins with the largest search that can be drawn, on every thread: all memory that a
search needs is taken by then, and any later growth is creep. Prints a table and writes
benchmarks/results/creep.json.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.matching import RESULTS, exported
from benchmarks.models import IMAGE_DIM, random_imram
from itr_deploy import Gallery, Matcher, Retriever
from itr_deploy.benchmarking.random_items import RandomItems
from itr_deploy.benchmarking.synthetic import synthetic_gallery
from itr_deploy.bundle.files import write_json

LOOKS = 12
"""Memory samples during a run."""
BY_IMAGE = 0.2
"""Share of the searches that are by image."""
MOST_PAIRS = 500, 1000
"""Most pairs that matcher and prefilter score per search; more would dominate the run time."""
MB = 1e6


@dataclass(frozen=True)
class Shape:
    """The sizes of one search.

    Attributes:
        positions: Words of every text, or regions of every image.
        queries: Number of queries in one call.
        candidates: Number of items that the matcher scores.
        prefilter: Number of items that the prefilter scores.
    """

    positions: int
    queries: int
    candidates: int
    prefilter: int


ONE_SHAPE = {"text": (Shape(14, 1, 20, 200),), "image": (Shape(36, 1, 20, 200),)}
LARGEST = {
    "text": (Shape(60, 1, 500, 1000), Shape(60, 16, 30, 60)),
    "image": (Shape(100, 1, 500, 1000), Shape(100, 16, 30, 60)),
}
"""The largest searches, in pairs and in queries."""


def drawn(rng: np.random.Generator, modality: str) -> Shape:
    """Random sizes up to those of `LARGEST`, small ones more often than large ones."""

    def between(least: int, most: int) -> int:
        return int(np.exp(rng.uniform(np.log(least), np.log(most + 1))))

    matched, prefiltered = MOST_PAIRS
    positions = between(1, 60) if modality == "text" else between(10, 100)
    queries = between(1, 16)
    candidates = between(5, matched // queries)
    return Shape(positions, queries, candidates, between(candidates, prefiltered // queries))


def main() -> None:
    """Measure every case, or just one when run as a subprocess."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=20, help="of every case")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 8])
    case = ("BUNDLE", "IMAGES", "TEXTS", "SHAPES", "THREADS")
    parser.add_argument("--case", nargs=len(case), metavar=case, help="used by the script itself")
    parser.set_defaults(family="imram", mode="text_IMRAM", steps=3, precompute="full")
    arguments = parser.parse_args()
    if arguments.case:
        *paths, shapes, threads = arguments.case
        print(json.dumps(Searches(*paths).measure(shapes, int(threads), arguments.seconds)))
        return
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        export = argparse.Namespace(**{**vars(arguments), "threads": None})
        matcher = exported(export, random_imram(arguments), Path(folder))
        items = RandomItems(matcher)
        with (
            synthetic_gallery(matcher, "image", arguments.items, items) as images,
            synthetic_gallery(matcher, "text", arguments.items, items) as texts,
        ):
            paths = matcher.bundle.path, images, texts
            cases = [(s, t) for t in arguments.threads for s in ("one", "drawn")]
            rows = [in_a_process(arguments, *paths, *case) for case in cases]
    report(arguments, rows)


def in_a_process(arguments: argparse.Namespace, *case: object) -> dict[str, Any]:
    """The figures of one case, measured in a subprocess."""
    options = ["--seconds", arguments.seconds, "--case", *case]
    command = [sys.executable, "-m", "benchmarks.creep", *map(str, options)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


class Searches:
    """Searches of an image gallery and of a text gallery with one matcher."""

    def __init__(self, bundle: str, images: str, texts: str) -> None:
        matcher = Matcher.load(bundle)
        galleries = {"text": images, "image": texts}
        self._retrievers = {
            modality: Retriever(matcher, Gallery.open(path, matcher), resident=True)
            for modality, path in galleries.items()
        }
        self._words = np.array(matcher.text.words)

    def measure(self, shapes: str, threads: int, seconds: float) -> dict[str, Any]:
        """Memory over time with ``"one"`` shape or ``"drawn"`` ones."""
        for retriever in self._retrievers.values():
            retriever.warm_up()
        loaded = psutil.Process().memory_info().rss
        first: Mapping[str, tuple[Shape, ...]] = ONE_SHAPE if shapes == "one" else LARGEST
        _together(threads, lambda rng: self._search_all(rng, first))
        largest = psutil.Process().memory_info().rss
        counts: list[int] = []
        memory: list[int] = []
        end = time.perf_counter() + seconds

        def work(rng: np.random.Generator) -> None:
            while time.perf_counter() < end:
                modality = "image" if rng.random() < BY_IMAGE else "text"
                one = shapes == "one"
                shape = ONE_SHAPE[modality][0] if one else drawn(rng, modality)
                self.search(rng, modality, shape)
                counts.append(1)

        def look() -> None:
            for number in range(1, LOOKS + 1):
                time.sleep(max(0.0, end - seconds * (1 - number / LOOKS) - time.perf_counter()))
                memory.append(psutil.Process().memory_info().rss)

        looking = threading.Thread(target=look)
        looking.start()
        _together(threads, work)
        looking.join()
        return {
            "shapes": shapes,
            "threads": threads,
            "searches": len(counts),
            "loaded_mb": loaded / MB,
            "largest_mb": largest / MB,
            "memory_mb": [size / MB for size in memory],
        }

    def search(self, rng: np.random.Generator, modality: str, shape: Shape) -> None:
        """One search with random queries of the given sizes."""
        widths = {"candidates": shape.candidates, "prefilter": shape.prefilter}
        size = shape.queries, shape.positions
        if modality == "text":
            texts = [" ".join(row) for row in rng.choice(self._words, size)]
            self._retrievers[modality].search(texts, k=5, **widths)
        else:
            regions = rng.standard_normal((*size, IMAGE_DIM), np.float32)
            self._retrievers[modality].search(image=regions, k=5, **widths)

    def _search_all(
        self, rng: np.random.Generator, shapes: Mapping[str, tuple[Shape, ...]]
    ) -> None:
        for modality, sizes in shapes.items():
            for shape in sizes:
                self.search(rng, modality, shape)


def _together(threads: int, work: Callable[[np.random.Generator], None]) -> None:
    """Run the work on several threads at once, each with its own random numbers."""
    workers = [
        threading.Thread(target=work, args=(np.random.default_rng(number),))
        for number in range(threads)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


def report(arguments: argparse.Namespace, rows: list[dict[str, Any]]) -> None:
    """Print the table and write the JSON."""
    table = Table(title=f"memory in MB, {arguments.seconds:.0f} s each")
    looks = range(LOOKS // 4 - 1, LOOKS, LOOKS // 4)
    parts = [f"at {100 * (look + 1) // LOOKS} %" for look in looks]
    for heading in ("threads", "shapes", "searches", "galleries loaded", "largest search", *parts):
        table.add_column(heading)
    for row in rows:
        sizes = [row["loaded_mb"], row["largest_mb"], *(row["memory_mb"][look] for look in looks)]
        table.add_row(
            str(row["threads"]),
            row["shapes"],
            f"{row['searches']:,}",
            *(f"{size:,.0f}" for size in sizes),
        )
    Console().print(table)
    write_json(RESULTS / "creep.json", {"configuration": vars(arguments), "rows": rows})


if __name__ == "__main__":
    main()
