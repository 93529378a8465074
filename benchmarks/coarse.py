"""The coarse stage alone: the best of very many vectors, exactly, by codes, and by other libraries.

    pip install 'itr-deploy[faiss]' usearch hnswlib
    python -m benchmarks.coarse [--items 100000] [--width 1024] [--limit 600] [--only codes lancedb]

The embeddings are random points near a curved sheet of 48 dimensions, since those of a trained
model also lie near something of few dimensions; no index helps with evenly spread ones. Every way
has a process of its own, which also takes every product: by NumPy on one core, as small galleries
do, and by BLAS on all. Of a way's settings the quickest one is shown that keeps 99 % of the exact
shortlist, else the one that keeps most. A build that takes longer than ``--limit`` seconds is
stopped. Prints a table and writes benchmarks/results/coarse.json.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.coarse_peers import PEERS, installed
from itr_deploy.bundle.files import write_json
from itr_deploy.runtime.products import of_one

RESULTS = Path(__file__).parent / "results"
LATENT, HIDDEN, BATCH = 48, 256, 10_000
WIDTHS = (200, 2_000)
KEPT = 0.99

Vectors = NDArray[np.float32]
Row = dict[str, Any]


def main() -> None:
    """Measure one size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--queries", type=int, default=20)
    parser.add_argument("--limit", type=float, default=600, help="seconds of a build")
    parser.add_argument("--data", type=Path, help="keeps the vectors here, for the next run")
    parser.add_argument("--only", nargs="+", help="ways whose names have one of these in them")
    arguments = parser.parse_args()
    chosen = [
        name
        for name in PEERS
        if not arguments.only or any(part.lower() in name.lower() for part in arguments.only)
    ]
    with tempfile.TemporaryDirectory() as folder:
        made = _make(arguments, arguments.data or Path(folder))
        rows = []
        for name in chosen:
            rows.append(_measured(name, *made, arguments.limit))
            Console(stderr=True).log(rows[-1])
    report(arguments, rows)


def _make(arguments: argparse.Namespace, folder: Path) -> tuple[Path, Path]:
    sheet = Sheet(arguments.width)
    folder.mkdir(parents=True, exist_ok=True)
    items, queries = (
        folder / f"{kind}-{arguments.items}-{arguments.width}.npy" for kind in ("items", "queries")
    )
    if queries.exists() and len(np.load(queries, mmap_mode="r")) == arguments.queries:
        return items, queries
    shape = (arguments.items, arguments.width)
    written = np.lib.format.open_memmap(items, "w+", np.float32, shape)
    for start, batch in sheet.batches(arguments.items):
        written[start : start + len(batch)] = batch
    written.flush()
    np.save(queries, sheet.vectors(arguments.queries, 0.1))
    return items, queries


class Sheet:
    """Unit vectors near a curved sheet."""

    def __init__(self, width: int) -> None:
        self._rng = np.random.default_rng(0)
        self._bend = self._rng.standard_normal((LATENT, HIDDEN), np.float32) / LATENT**0.5
        self._lift = self._rng.standard_normal((HIDDEN, width), np.float32) / HIDDEN**0.5

    def vectors(self, count: int, noise: float) -> Vectors:
        """Random vectors ``[count, width]``; ``noise`` is in standard deviations."""
        latent = self._rng.standard_normal((count, LATENT), np.float32)
        found = np.tanh(latent @ self._bend) @ self._lift
        found += noise * found.std() * self._rng.standard_normal(found.shape, np.float32)
        unit: Vectors = found / np.linalg.norm(found, axis=1, keepdims=True)
        return unit

    def batches(self, count: int) -> Iterator[tuple[int, Vectors]]:
        """``count`` vectors, in batches, each with its first place."""
        for start in range(0, count, BATCH):
            yield start, self.vectors(min(BATCH, count - start), 0.1)


def _measured(name: str, items: Path, queries: Path, limit: float) -> Row:
    """One way, in a process of its own, which is stopped if it builds for too long."""
    if not installed(name):
        return {"way": name, "note": f"{PEERS[name][0]} is not installed"}
    spawn = multiprocessing.get_context("spawn")
    here, there = spawn.Pipe()
    process = spawn.Process(target=_work, args=(there, name, items, queries))
    process.start()
    there.close()
    try:
        here.recv()  # the vectors are read
        if not here.poll(limit):
            return {"way": name, "note": f"not built in {limit:.0f} s"}
        row: Row = here.recv()
        for _ in WIDTHS:
            row |= here.recv()
        return row
    except EOFError:
        return {"way": name, "note": "ended without an answer"}
    finally:
        process.kill()
        process.join()


def _work(pipe: Connection, name: str, items: Path, queries: Path) -> None:
    stored, asked = np.load(items, mmap_mode="r"), np.load(queries)
    vectors = np.empty(stored.shape, np.float32)
    vectors[:] = stored
    peer = PEERS[name][1]()
    pipe.send("read")
    before, start = _anonymous(), time.perf_counter()
    peer.build(vectors)
    seconds = time.perf_counter() - start
    bytes_ = max(0, _anonymous() - before)
    pipe.send({"way": name, "build_seconds": seconds, "memory": bytes_, "stored": peer.stored})
    every = _every_product(vectors, asked)
    for width in WIDTHS:
        best = [_largest(row, width) for row in every]
        found = [
            _timed(lambda query, w=width, e=effort: peer.search(query, w, e), asked, best)
            for effort in peer.efforts
        ]
        enough = [one for one in found if one[1] >= KEPT]
        milliseconds, kept = min(enough) if enough else max(found, key=lambda one: one[1])
        by_numpy = _timed(lambda query: of_one(query, vectors), asked, None)[0]
        by_blas = _timed(lambda query: vectors @ query, asked, None)[0]
        ratios = {"numpy": by_numpy / milliseconds, "blas": by_blas / milliseconds}
        pipe.send({f"{width}": {"ms": milliseconds, "kept": kept, "times_as_fast": ratios}})


def _every_product(vectors: Vectors, asked: Vectors) -> Vectors:
    found = np.empty((len(asked), len(vectors)), np.float32)
    for start in range(0, len(vectors), BATCH):
        found[:, start : start + BATCH] = asked @ vectors[start : start + BATCH].T
    return found


def _largest(row: Vectors, count: int) -> NDArray[np.int64]:
    return np.argpartition(row, len(row) - count)[-count:]


def _timed(
    search: Callable[[Vectors], NDArray[Any]],
    asked: Vectors,
    best: list[NDArray[np.int64]] | None,
) -> tuple[float, float]:
    """Milliseconds a query, the median; the mean share of the exact shortlist."""
    search(asked[0])
    seconds, kept = [], []
    for place, query in enumerate(asked):
        start = time.perf_counter()
        found = search(query)
        seconds.append(time.perf_counter() - start)
        if best is not None:
            kept.append(len(np.intersect1d(found, best[place])) / len(best[place]))
    return 1000 * statistics.median(seconds), statistics.mean(kept) if kept else 1.0


def _anonymous() -> int:
    """Bytes of the process's own memory."""
    with Path("/proc/self/status").open() as lines:
        found = next(line for line in lines if line.startswith("RssAnon"))
    return int(found.split()[1]) << 10


def report(arguments: argparse.Namespace, rows: list[Row]) -> None:
    """Print the table and write the JSON."""
    table = Table(title=f"{arguments.items:,} items of {arguments.width}")
    table.add_column("way")
    for heading in ("build s", "MB", "on disk"):
        table.add_column(heading, justify="right")
    for width in WIDTHS:
        for heading in (f"ms, {width}", "kept", "as fast as NumPy", "as BLAS"):
            table.add_column(heading, justify="right")
    for row in rows:
        if "note" in row:
            table.add_row(row["way"], row["note"])
            continue
        sizes = [f"{row[key] / 1e6:,.0f}" for key in ("memory", "stored")]
        cells = [
            cell
            for width in WIDTHS
            for one in [row[f"{width}"]]
            for cell in (
                f"{one['ms']:.1f}",
                f"{one['kept']:.2%}",
                *(f"{ratio:.1f}" for ratio in one["times_as_fast"].values()),
            )
        ]
        table.add_row(row["way"], f"{row['build_seconds']:.1f}", *sizes, *cells)
    Console(width=140).print(table)
    write_json(
        RESULTS / "coarse.json", {"configuration": {**vars(arguments), "data": None}, "rows": rows}
    )


if __name__ == "__main__":
    main()
