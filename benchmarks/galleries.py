"""How a search's latency and memory grow with its gallery.

    python -m benchmarks.galleries [--items 1000 10000 100000] [--forms memory disk]

IMRAM in text mode at its published sizes, random weights, float16 galleries of random items, one
text query at a time, the default cascade unless other widths are given. A gallery is made for each
size and deleted afterwards; each form of it is opened in a separate process, so that its memory
can be measured. Prints a table and writes benchmarks/results/galleries.json.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

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
from itr_deploy.runtime.gallery.read import stored_bytes
from itr_deploy.runtime.timing import timed_stages

MB = 1e6


def main() -> None:
    """Measure every size, or just one form of one size when run as a subprocess."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--forms", nargs="+", default=["memory", "disk"])
    parser.add_argument("--precompute", default="none", choices=("full", "none"))
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--opened", nargs=3, metavar=("BUNDLE", "GALLERY", "FORM"))
    parser.set_defaults(family="imram", mode="text_IMRAM", steps=3, threads=None)
    arguments = parser.parse_args()
    if arguments.opened:
        print(json.dumps(searched(arguments, *arguments.opened)))
        return
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        matcher = exported(arguments, random_imram(arguments), Path(folder))
        rows = [row for count in arguments.items for row in measured(arguments, matcher, count)]
    report(arguments, rows)


def measured(arguments: argparse.Namespace, matcher: Matcher, count: int) -> list[dict[str, Any]]:
    """The figures of every form of a gallery of the given size."""
    rows = []
    with synthetic_gallery(matcher, "image", count, RandomItems(matcher)) as gallery:
        for form in arguments.forms:
            command = [sys.executable, "-m", "benchmarks.galleries"]
            command += ["--rounds", str(arguments.rounds)]
            command += ["--opened", str(matcher.bundle.path), str(gallery), form]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            rows.append({"items": count, "form": form, **json.loads(done.stdout)})
    return rows


def searched(arguments: argparse.Namespace, bundle: str, gallery: str, form: str) -> dict[str, Any]:
    """Latencies of one text query at a time, and the memory that the gallery takes."""
    matcher = Matcher.load(bundle)
    retriever = Retriever(
        matcher, Gallery.open(gallery, matcher), resident=form == "memory", query_budget=0
    )
    queries = RandomItems(matcher, seed=1).make("text", arguments.rounds + 1)
    matcher.encode_texts(queries[:1])  # loads the encoder, which is not part of a gallery
    before, start = psutil.Process().memory_info().rss, time.perf_counter()
    retriever.search(queries[0])
    loaded, seconds = time.perf_counter() - start, []
    memory = psutil.Process().memory_info().rss - before
    stages: dict[str, list[float]] = {}
    for query in queries[1:]:
        with timed_stages() as times:
            retriever.search(query)
        seconds.append(times.total)
        for name, taken in times.seconds.items():
            stages.setdefault(name, []).append(taken)
    stored = stored_bytes(retriever.gallery)
    if form == "disk":
        stored = retriever.gallery.count() * matcher.bundle.manifest.embedding_dim * 4
    return {
        "load_seconds": loaded,
        "milliseconds": 1000 * statistics.median(seconds),
        "stages": {name: 1000 * statistics.median(taken) for name, taken in stages.items()},
        "computed_mb": stored / MB,
        "measured_mb": memory / MB,
    }


def report(arguments: argparse.Namespace, rows: list[dict[str, Any]]) -> None:
    """Print the table and write the JSON."""
    table = Table(title="one text query, by the size of the gallery")
    stages = list(dict.fromkeys(name for row in rows for name in row["stages"]))
    headings = ("items", "form", "first s", "ms", "times 1st", *stages, "MB computed", "measured")
    for heading in headings:
        table.add_column(heading)
    first = {row["form"]: row["milliseconds"] for row in reversed(rows)}
    for row in rows:
        table.add_row(
            f"{row['items']:,}",
            row["form"],
            f"{row['load_seconds']:.1f}",
            f"{row['milliseconds']:.1f}",
            f"{row['milliseconds'] / first[row['form']]:.2f}",
            *(f"{row['stages'].get(name, 0):.1f}" for name in stages),
            f"{row['computed_mb']:,.0f}",
            f"{row['measured_mb']:,.0f}",
        )
    Console().print(table)
    write_json(RESULTS / "galleries.json", {"configuration": vars(arguments), "rows": rows})


if __name__ == "__main__":
    main()
