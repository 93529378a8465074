"""One retriever and many threads: throughput, identical hits, flat memory.

    python -m benchmarks.threads [--seconds 60] [--threads 16]

IMRAM in text mode at its published sizes, random weights, a gallery of random images in memory, the
default cascade. It measures the throughput by number of threads and by queries per call, then runs
all threads for the given time; every hit is compared with what a single thread found. Prints
tables, writes benchmarks/results/threads.json, and ends with 1 if a search failed or its hits
differ.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.matching import RESULTS, exported
from benchmarks.models import random_imram
from itr_deploy import Gallery, Hits, Retriever
from itr_deploy.benchmarking.random_items import RandomItems
from itr_deploy.benchmarking.synthetic import synthetic_gallery
from itr_deploy.bundle.files import write_json

QUERIES = 64
"""Number of different queries."""
SAMPLES = 12
"""Memory samples during the long run."""
TOLERANCE = 1e-5


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--threads", type=int, default=16)
    parser.add_argument("--counts", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 64])
    parser.set_defaults(family="imram", mode="text_IMRAM", steps=3, precompute="full")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        arguments_of_export = argparse.Namespace(**{**vars(arguments), "threads": None})
        matcher = exported(arguments_of_export, random_imram(arguments), Path(folder))
        items = RandomItems(matcher)
        with synthetic_gallery(matcher, "image", arguments.items, items) as gallery:
            retriever = Retriever(
                matcher, Gallery.open(gallery, matcher), resident=True, query_budget=0
            )
            load = _Load(arguments, retriever, items.make("text", QUERIES))
            result = load.measure()
    report(arguments, result)
    sys.exit(1 if result["errors"] else 0)


class _Load:
    """Searches from several threads, compared with those of a single thread."""

    def __init__(
        self, arguments: argparse.Namespace, retriever: Retriever, queries: list[str]
    ) -> None:
        self._arguments, self._retriever, self._queries = arguments, retriever, queries
        self._alone = [retriever.search(query) for query in queries]
        self._errors: list[str] = []

    def measure(self) -> dict[str, Any]:
        """Every number of threads, every batch, and the long run."""
        short = min(5.0, self._arguments.seconds)
        threads = {count: self._rate(count, short) for count in self._arguments.counts}
        batches = {size: self._batched(size, short) for size in self._arguments.batches}
        memory: list[int] = []
        rate = self._rate(self._arguments.threads, self._arguments.seconds, memory)
        return {
            "by_threads": threads,
            "by_batch": batches,
            "long": {"queries_per_second": rate, "memory_mb": [size / 1e6 for size in memory]},
            "errors": self._errors[:5],
        }

    def _rate(self, threads: int, seconds: float, memory: list[int] | None = None) -> float:
        """Queries per second with that many threads."""
        end, counts = time.perf_counter() + seconds, [0] * threads

        def work(number: int) -> None:
            place = number
            while time.perf_counter() < end:
                place = (place + 1) % len(self._queries)
                try:
                    found = self._retriever.search(self._queries[place])
                    if not _same(found, self._alone[place]):
                        self._errors.append(f"query {place}: other hits than alone")
                except Exception as error:  # as a service would see it
                    self._errors.append(f"query {place}: {error!r}")
                counts[number] += 1

        workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
        start = time.perf_counter()
        for worker in workers:
            worker.start()
        while memory is not None and time.perf_counter() < end:
            time.sleep(seconds / SAMPLES)
            memory.append(psutil.Process().memory_info().rss)
        for worker in workers:
            worker.join()
        return sum(counts) / (time.perf_counter() - start)

    def _batched(self, size: int, seconds: float) -> float:
        """Queries per second of one thread that passes ``size`` queries per call."""
        done, start = 0, time.perf_counter()
        while time.perf_counter() < start + seconds:
            self._retriever.search(self._queries[:size])
            done += size
        return done / (time.perf_counter() - start)


def _same(found: Hits, alone: Hits) -> bool:
    pairs = zip(found, alone, strict=True)
    return found.ids == alone.ids and all(abs(a.score - b.score) <= TOLERANCE for a, b in pairs)


def report(arguments: argparse.Namespace, result: dict[str, Any]) -> None:
    """Print the tables and write the JSON."""
    for title, rates in (("threads", result["by_threads"]), ("queries a call", result["by_batch"])):
        table = Table(title=f"queries a second, {arguments.items:,} images")
        table.add_column(title)
        table.add_column("queries/s")
        for count, rate in rates.items():
            table.add_row(str(count), f"{rate:.1f}")
        Console().print(table)
    long = result["long"]
    memory = ", ".join(f"{size:,.0f}" for size in long["memory_mb"])
    Console().print(
        f"{arguments.threads} threads for {arguments.seconds:.0f} s: "
        f"{long['queries_per_second']:.1f} queries/s, {len(result['errors'])} errors; "
        f"memory in MB: {memory}"
    )
    for error in result["errors"]:
        Console().print(error)
    write_json(RESULTS / "threads.json", {"configuration": vars(arguments), **result})


if __name__ == "__main__":
    main()
