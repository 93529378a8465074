"""What searches cost while another process changes the gallery.

    python -m benchmarks.live [--items 100000] [--seconds 30] [--forms memory disk]

IMRAM in text mode at its published sizes, random weights, a float16 gallery of random items, one
text query after the other by the default cascade. By turns nobody writes, and another process
appends an item a second while the gallery is refreshed twice a second beside the searches. Each
form of the gallery is opened in a separate process, so that its memory can be measured: in memory,
by a budget of 12 GiB, and on disk, by the default one. Prints a table and writes
benchmarks/results/live.json.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.matching import RESULTS, exported
from benchmarks.models import random_imram
from itr_deploy import Gallery, Matcher, Retriever
from itr_deploy.benchmarking.random_items import RandomItems
from itr_deploy.benchmarking.synthetic import synthetic_gallery
from itr_deploy.bundle.files import write_json
from itr_deploy.runtime.retriever import DEFAULT_BUDGET

MB = 1e6
BUDGETS = {"memory": 12 << 30, "disk": DEFAULT_BUDGET}
BETWEEN_WRITES, BETWEEN_REFRESHES = 1.0, 0.5
"""Seconds."""
TURNS = 5
SHARES = (50, 95, 99)


def main() -> None:
    """Measure every form, or take one part of it when run as a subprocess."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=30, help="without writes, and with them")
    parser.add_argument("--forms", nargs="+", default=list(BUDGETS), choices=list(BUDGETS))
    parser.add_argument("--searched", nargs=3, metavar=("BUNDLE", "GALLERY", "FORM"))
    parser.add_argument("--written", nargs=2, metavar=("BUNDLE", "GALLERY"))
    family = {"family": "imram", "mode": "text_IMRAM", "steps": 3, "precompute": "none"}
    parser.set_defaults(**family, threads=None)
    arguments = parser.parse_args()
    if arguments.searched:
        print(json.dumps(searched(*arguments.searched, arguments.seconds)))
        return
    if arguments.written:
        write(*arguments.written)
        return
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        matcher = exported(arguments, random_imram(arguments), Path(folder))
        bundle = str(matcher.bundle.path)
        with synthetic_gallery(matcher, "image", arguments.items, RandomItems(matcher)) as gallery:
            rows = [in_a_process(arguments, bundle, str(gallery), f) for f in arguments.forms]
    report(arguments, rows)


def in_a_process(arguments: argparse.Namespace, *searched: str) -> dict[str, Any]:
    """The figures of one form, measured in a subprocess."""
    command = [sys.executable, "-m", "benchmarks.live", "--seconds", str(arguments.seconds)]
    done = subprocess.run(
        [*command, "--searched", *searched], check=True, stdout=subprocess.PIPE, text=True
    )
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


def searched(bundle: str, gallery: str, form: str, seconds: float) -> dict[str, Any]:
    """Latencies and memory without writes, and with them."""
    retriever = Retriever.load(bundle, gallery, memory_budget=BUDGETS[form], query_budget=0)
    start = time.perf_counter()
    retriever.warm_up()
    loaded = time.perf_counter() - start
    queries = RandomItems(retriever.matcher, seed=1).make("text", 200)
    first = [timed(retriever, query) for query in queries[:10]]
    # By turns, as the machine may be slower at one time than at another.
    quiet, busy, loads = list[float](), list[float](), list[float]()
    before, memory = retriever.searched, psutil.Process().memory_info().rss
    with writer(bundle, gallery) as write_one:
        for _ in range(TURNS):
            quiet += latencies(retriever, queries, seconds / TURNS)
            with every(BETWEEN_WRITES, write_one), refreshing(retriever) as own:
                busy += latencies(retriever, queries, seconds / TURNS)
            loads += own
    after = retriever.searched
    assert before is not None
    assert after is not None
    return {
        "form": form,
        "first_load_seconds": loaded,
        "first_ms": 1e3 * first[0],
        "tenth_ms": 1e3 * first[-1],
        "quiet_ms": shares_of(quiet),
        "writes_ms": shares_of(busy),
        "versions": after.version - before.version,
        "items": after.items - before.items,
        "loads": len(loads),
        "longest_load_ms": 1e3 * max(loads),
        "memory_mb": memory / MB,
        "memory_after_mb": psutil.Process().memory_info().rss / MB,
    }


def timed(retriever: Retriever, query: str) -> float:
    """Seconds of one search."""
    start = time.perf_counter()
    retriever.search(query)
    return time.perf_counter() - start


def latencies(retriever: Retriever, queries: list[str], seconds: float) -> list[float]:
    """Milliseconds of searches back to back."""
    end, taken = time.perf_counter() + seconds, list[float]()
    while time.perf_counter() < end:
        taken.append(1e3 * timed(retriever, queries[len(taken) % len(queries)]))
    return taken


def shares_of(taken: list[float]) -> dict[str, float]:
    """Some percentiles, the longest, and their number."""
    found = {f"p{share}": float(np.percentile(taken, share)) for share in SHARES}
    return {**found, "longest": max(taken), "searches": len(taken)}


@contextmanager
def every(seconds: float, work: Callable[[], None]) -> Iterator[None]:
    """Do something in a thread of its own until the block ends, with pauses between."""
    stop = threading.Event()

    def loop() -> None:
        while not stop.wait(seconds):
            work()

    thread = threading.Thread(target=loop)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@contextmanager
def refreshing(retriever: Retriever) -> Iterator[list[float]]:
    """Refresh beside the searches; the seconds of every refresh that found a change."""
    loads = list[float]()

    def refresh() -> None:
        start = time.perf_counter()
        if retriever.refresh():
            loads.append(time.perf_counter() - start)

    with every(BETWEEN_REFRESHES, refresh):
        yield loads


@contextmanager
def writer(bundle: str, gallery: str) -> Iterator[Callable[[], None]]:
    """Another process, which appends an item when it is told to."""
    command = [sys.executable, "-m", "benchmarks.live", "--written", bundle, gallery]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, text=True, bufsize=1, **pipes) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        told, answers = process.stdin, process.stdout
        answers.readline()  # it is ready

        def write_one() -> None:
            told.write("\n")
            answers.readline()

        try:
            yield write_one
        finally:
            told.close()


def write(bundle: str, gallery: str) -> None:
    """Append an item for every line of standard input, and answer by a line."""
    matcher = Matcher.load(bundle, threads=1)
    opened = Gallery.open(gallery, matcher)
    encoded = matcher.encode_images(RandomItems(matcher, seed=2).images(64))
    begun = time.time_ns()
    print("ready", flush=True)
    for number, _ in enumerate(sys.stdin):
        item = encoded.take(slice(number % 64, number % 64 + 1))
        opened.add([f"late{begun}-{number}"], item)
        print(number, flush=True)


def report(arguments: argparse.Namespace, rows: list[dict[str, Any]]) -> None:
    """Print the table and write the JSON."""
    title = f"{arguments.items:,} items, {arguments.seconds:.0f} s without writes and with them"
    table = Table(title=title)
    shares = [f"p{share}" for share in SHARES]
    headings = (
        *("form", "writes", "searches", *(f"{share} ms" for share in shares), "longest"),
        *("p99 ratio", "loads", "longest load ms", "MB before", "after", "first ms", "tenth"),
    )
    for heading in headings:
        table.add_column(heading)
    for row in rows:
        quiet, busy = row["quiet_ms"], row["writes_ms"]
        for name, figures in (("no", quiet), ("yes", busy)):
            cells = [f"{figures[share]:.1f}" for share in (*shares, "longest")]
            rest = (
                f"{busy['p99'] / quiet['p99']:.2f}",
                f"{row['loads']}",
                f"{row['longest_load_ms']:.0f}",
                f"{row['memory_mb']:,.0f}",
                f"{row['memory_after_mb']:,.0f}",
                f"{row['first_ms']:.1f}",
                f"{row['tenth_ms']:.1f}",
            )
            own = rest if name == "yes" else ("",) * len(rest)
            table.add_row(row["form"], name, f"{figures['searches']}", *cells, *own)
    Console(width=160).print(table)
    write_json(RESULTS / "live.json", {"configuration": vars(arguments), "rows": rows})


if __name__ == "__main__":
    main()
