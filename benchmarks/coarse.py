"""The coarse stage alone: the best of very many items, exactly and by LanceDB's index.

    python -m benchmarks.coarse [--items 100000] [--width 1024] [--shortlist 200]

The embeddings are random points near a curved sheet of 48 dimensions, since those of a trained
model also lie near something of few dimensions; no index helps with evenly spread ones. Prints a
table with the share of the exact shortlist that is found, and writes
benchmarks/results/coarse.json.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lancedb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.matching import RESULTS
from itr_deploy.bundle.files import write_json
from itr_deploy.runtime.gallery import coarse_index
from itr_deploy.runtime.gallery.layout import EMBEDDING
from itr_deploy.runtime.gallery.read import Vectors
from itr_deploy.runtime.search.coarse import CoarseVectors

LATENT, HIDDEN, BATCH = 48, 256, 10_000


def main() -> None:
    """Measure one size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--shortlist", type=int, default=200)
    parser.add_argument("--queries", type=int, default=20)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report(arguments, measure(arguments, Path(folder)))


def measure(arguments: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """Search in each way, with the same queries."""
    sheet = _Sheet(arguments.width)
    embeddings = np.concatenate(list(sheet.batches(arguments.items)))
    queries = sheet.vectors(arguments.queries, 0.1)
    table = lancedb.connect(folder).create_table("items", data=_rows(embeddings))
    ids = np.arange(arguments.items).astype(np.str_)
    memory = CoarseVectors(Vectors(ids, embeddings))
    count = arguments.shortlist

    def in_memory(query: NDArray[np.float32]) -> NDArray[np.int64]:
        return memory.nearest(query[None], count)[0]

    def by_lancedb(query: NDArray[np.float32]) -> NDArray[np.int64]:
        asked: Any = table.search(query, vector_column_name=EMBEDDING).distance_type("dot")
        asked = asked.limit(count).select(["row", "_distance"])
        found = coarse_index.searching(asked, coarse_index.indexed_rows(table)).to_arrow()
        return found["row"].to_numpy()  # type: ignore[no-any-return]

    exact = [in_memory(query) for query in queries]
    rows = [_timed("in memory", in_memory, queries, exact)]
    rows.append(_timed("LanceDB, no index", by_lancedb, queries, exact))
    start = time.perf_counter()
    coarse_index.build(table)
    built = time.perf_counter() - start
    rows.append({**_timed("LanceDB, index", by_lancedb, queries, exact), "build_seconds": built})
    return rows


class _Sheet:
    """Unit vectors near a curved sheet."""

    def __init__(self, width: int) -> None:
        self._rng = np.random.default_rng(0)
        self._bend = self._rng.standard_normal((LATENT, HIDDEN), np.float32) / LATENT**0.5
        self._lift = self._rng.standard_normal((HIDDEN, width), np.float32) / HIDDEN**0.5

    def vectors(self, count: int, noise: float) -> NDArray[np.float32]:
        """Random vectors ``[count, width]``; ``noise`` is in standard deviations."""
        latent = self._rng.standard_normal((count, LATENT), np.float32)
        found = np.tanh(latent @ self._bend) @ self._lift
        found += noise * found.std() * self._rng.standard_normal(found.shape, np.float32)
        unit: NDArray[np.float32] = found / np.linalg.norm(found, axis=1, keepdims=True)
        return unit

    def batches(self, count: int) -> Any:
        """``count`` vectors, in batches."""
        for start in range(0, count, BATCH):
            yield self.vectors(min(BATCH, count - start), 0.1)


def _rows(embeddings: NDArray[np.float32]) -> pa.Table:
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(embeddings.ravel()), embeddings.shape[1])
    return pa.table({"row": pa.array(np.arange(len(embeddings))), EMBEDDING: vectors})


def _timed(
    name: str,
    search: Callable[[NDArray[np.float32]], NDArray[np.int64]],
    queries: NDArray[np.float32],
    exact: list[NDArray[np.int64]],
) -> dict[str, Any]:
    search(queries[0])
    seconds, kept = [], []
    for query, best in zip(queries, exact, strict=True):
        start = time.perf_counter()
        found = search(query)
        seconds.append(time.perf_counter() - start)
        kept.append(len(np.intersect1d(found, best)) / len(best))
    return {
        "side": name,
        "milliseconds": 1000 * statistics.median(seconds),
        "kept": statistics.mean(kept),
    }


def report(arguments: argparse.Namespace, rows: list[dict[str, Any]]) -> None:
    """Print the table and write the JSON."""
    table = Table(title=f"{arguments.shortlist} of {arguments.items:,} items")
    for heading in ("side", "ms", "of the exact shortlist", "build s"):
        table.add_column(heading)
    for row in rows:
        built = f"{row['build_seconds']:.0f}" if "build_seconds" in row else ""
        table.add_row(row["side"], f"{row['milliseconds']:.1f}", f"{row['kept']:.1%}", built)
    Console().print(table)
    write_json(RESULTS / "coarse.json", {"configuration": vars(arguments), "rows": rows})


if __name__ == "__main__":
    main()
