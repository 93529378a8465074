"""What a thousand single changes do to a gallery, and what compacting undoes.

    python -m benchmarks.changes [--items 3000] [--changes 1000] [--precompute none]

IMRAM in text mode at its published sizes, random weights, a float16 gallery of random items. Items
are added, replaced and deleted one at a time, by turns; then the gallery is compacted. It is
compared with one of as many items made by one bulk load: files, bytes, and the latency of one text
query by the default cascade, on disk and in memory, by turns. Prints tables and writes
benchmarks/results/changes.json.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.matching import RESULTS, exported
from benchmarks.models import random_imram
from itr_deploy import Gallery, Matcher, Retriever
from itr_deploy.benchmarking.random_items import RandomItems
from itr_deploy.benchmarking.synthetic import NoisyCopies, synthetic_gallery
from itr_deploy.bundle.files import write_json
from itr_deploy.runtime.gallery.compacting import files_of, fill_of

MB = 1e6
KINDS = ("add", "update", "delete")


def main() -> None:
    """Measure one size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=3_000)
    parser.add_argument("--changes", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--precompute", default="none", choices=("full", "none"))
    parser.set_defaults(family="imram", mode="text_IMRAM", steps=3, threads=None)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        matcher = exported(arguments, random_imram(arguments), Path(folder))
        items = RandomItems(matcher)
        with synthetic_gallery(matcher, "image", arguments.items, items) as bulk:
            report(arguments, *measured(arguments, matcher, items, bulk, Path(folder)))


def measured(
    arguments: argparse.Namespace, matcher: Matcher, items: RandomItems, bulk: Path, folder: Path
) -> tuple[list[dict[str, Any]], dict[str, list[float]]]:
    """The galleries' figures, and the milliseconds of every kind of change."""
    changed = folder / "changed"
    shutil.copytree(bulk, changed)
    gallery = Gallery.open(changed, matcher)
    taken = change(gallery, matcher, items, arguments.changes)
    compacted = folder / "compacted"
    shutil.copytree(changed, compacted)
    start = time.perf_counter()
    Gallery.open(compacted).compact(keep=0)
    seconds = time.perf_counter() - start
    # As many items as the others have, in one load.
    loaded = folder / "loaded"
    count = gallery.count()
    copies = NoisyCopies(matcher, matcher.encode_images(items.images(64)), count)
    Gallery.create(loaded, matcher).add(gallery.ids(), copies)
    places = {"bulk load": loaded, "after changes": changed, "compacted": compacted}
    rows = [{"gallery": name, **state(place)} for name, place in places.items()]
    rows[-1]["compact_seconds"] = seconds
    for resident in (False, True):
        form = "memory" if resident else "disk"
        times = latencies(arguments, matcher, list(places.values()), resident)
        for row, milliseconds in zip(rows, times, strict=True):
            row[f"{form}_ms"] = milliseconds
    return rows, taken


def change(
    gallery: Gallery, matcher: Matcher, items: RandomItems, count: int
) -> dict[str, list[float]]:
    """Change one item at a time; milliseconds of each, without encoding."""
    encoded = matcher.encode_images(items.images(64))
    taken: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for number in range(count):
        one, kind = encoded.take(slice(number % 64, number % 64 + 1)), KINDS[number % len(KINDS)]
        start = time.perf_counter()
        if kind == "add":
            gallery.add([f"new{number}"], one)
        elif kind == "update":
            gallery.update([f"item{number}"], one)
        else:
            gallery.delete([f"item{number}"])
        taken[kind].append(1e3 * (time.perf_counter() - start))
    return taken


def state(place: Path) -> dict[str, Any]:
    """What is on disk of a gallery."""
    table = Gallery.open(place).opened
    files, fill = files_of(table), fill_of(table)
    return {
        "items": fill.items,
        "files": files.files,
        "versions": files.versions,
        "fragments": fill.fragments,
        "deleted_share": fill.deleted_share,
        "mb": files.bytes / MB,
    }


def latencies(
    arguments: argparse.Namespace, matcher: Matcher, places: list[Path], resident: bool
) -> list[float]:
    """Median milliseconds of a search of each gallery, by turns."""
    retrievers = [
        Retriever(matcher, Gallery.open(place, matcher), resident=resident) for place in places
    ]
    for retriever in retrievers:
        retriever.warm_up()
    taken: list[list[float]] = [[] for _ in retrievers]
    for query in RandomItems(matcher, seed=1).make("text", arguments.rounds):
        for retriever, own in zip(retrievers, taken, strict=True):
            start = time.perf_counter()
            retriever.search(query)
            own.append(1e3 * (time.perf_counter() - start))
    return [statistics.median(own) for own in taken]


def report(
    arguments: argparse.Namespace, rows: list[dict[str, Any]], taken: dict[str, list[float]]
) -> None:
    """Print the tables and write the JSON."""
    table = Table(title=f"{arguments.items:,} items, {arguments.changes:,} single changes")
    headings = ("gallery", "items", "files", "versions", "fragments", "deleted", "MB")
    for heading in (*headings, "disk ms", "ratio", "memory ms", "ratio"):
        table.add_column(heading)
    for row in rows:
        times = [
            cell
            for form in ("disk_ms", "memory_ms")
            for cell in (f"{row[form]:.1f}", f"{row[form] / rows[0][form]:.2f}")
        ]
        table.add_row(
            *(row["gallery"], f"{row['items']:,}", f"{row['files']:,}", f"{row['versions']:,}"),
            *(f"{row['fragments']}", f"{row['deleted_share']:.1%}", f"{row['mb']:,.0f}", *times),
        )
    costs = Table(title="milliseconds of a change")
    for heading in ("change", "first tenth", "last tenth", "p50", "longest"):
        costs.add_column(heading)
    for kind, own in taken.items():
        tenth = max(1, len(own) // 10)
        middle = statistics.median
        figures = middle(own[:tenth]), middle(own[-tenth:]), middle(own), max(own)
        costs.add_row(kind, *(f"{figure:.1f}" for figure in figures))
    console = Console(width=160)
    console.print(table)
    console.print(costs)
    console.print(f"compacted in {rows[-1]['compact_seconds']:.1f} s")
    found = {"configuration": vars(arguments), "rows": rows, "change_ms": taken}
    write_json(RESULTS / "changes.json", found)


if __name__ == "__main__":
    main()
