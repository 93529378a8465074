"""A gallery made by Ray's actors, one of which is killed, against that of a single process.

    python -m benchmarks.parts [--items 200000] [--actors 2] [--parts 8] [--folder /tmp]

IMRAM in text mode with ``--precompute none``: 36 regions of 1024 float16 values an image, its
published size, 73,728 bytes; random weights. The regions that it reads have 64 random features
instead of 2,048, so that 200,000 images take 1.8 GB and not 59, and encoding takes little of the
time. Half of the items are done when one of the actors gets SIGKILL. Ids, all stored values and the
scores of searches are compared. Needs the disk space of two galleries, 30 GB. Prints a table and
writes benchmarks/results/parts.json.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import torch
from rich.console import Console
from rich.table import Table

import itr_deploy
from benchmarks.matching import RESULTS, exported
from benchmarks.models import REGIONS, random_imram
from itr_deploy import Gallery, Matcher, Retriever
from itr_deploy.benchmarking.random_items import RandomItems
from itr_deploy.bundle.files import write_json

IMAGE_DIM, AT_ONCE, QUERIES, HITS = 64, 4096, 20, 100


def main() -> None:
    """Make both galleries, one after the other, and compare them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=200_000)
    parser.add_argument("--actors", type=int, default=2)
    parser.add_argument("--parts", type=int, default=8)
    parser.add_argument("--folder", help="where the galleries are made, by default /tmp")
    parser.set_defaults(
        family="imram", mode="text_IMRAM", steps=3, precompute="none", threads=None,
        image_dim=IMAGE_DIM,
    )  # fmt: skip
    arguments = parser.parse_args()
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        root = Path(folder)
        bundle = str(exported(arguments, random_imram(arguments), root / "made").bundle.path)
        write_items(root, arguments.items)
        given = {"bundle": bundle, "data": str(root), "output": str(root / "gallery")}
        single = measured(given)
        killed = measured(
            {**given, "force": True, "ray": "local", "actors": arguments.actors, "threads": 1},
            parts=arguments.parts,
            kills=True,
        )
    rows = {"one process": single, f"{arguments.actors} actors, one killed": killed}
    same = {name: single[name] == killed[name] for name in ("items", "ids", "values", "hits")}
    write_json(RESULTS / "parts.json", {"items": arguments.items, "rows": rows, "same": same})
    report(rows, same)


def write_items(root: Path, count: int) -> None:
    """Random regions of images."""
    shape = (count, REGIONS, IMAGE_DIM)
    stored = np.lib.format.open_memmap(root / "test_ims.npy", "w+", np.float32, shape)
    rng = np.random.default_rng(0)
    for start in range(0, count, AT_ONCE):
        part = stored[start : start + AT_ONCE]
        part[:] = rng.standard_normal(part.shape, np.float32)
    stored.flush()


def measured(
    given: dict[str, Any], parts: int | None = None, kills: bool = False
) -> dict[str, Any]:
    """The time that a gallery takes to make, and digests of what is in it."""
    killed: list[float] = []
    start = time.perf_counter()

    def watch(done: int, total: int) -> None:
        if kills and not killed and done >= total // 2:
            actor = next(makers())
            killed.append(time.perf_counter() - start)
            actor.send_signal(signal.SIGKILL)

    itr_deploy.index(**given, parts=parts, progress=watch)
    seconds = time.perf_counter() - start
    assert bool(killed) == kills
    matcher = Matcher.load(given["bundle"])
    gallery = Gallery.open(given["output"], matcher)
    verified = gallery.verify()
    ids, values = digests(gallery)
    retriever = Retriever(matcher, gallery, resident=False)
    queries = RandomItems(matcher, seed=1).make("text", QUERIES)
    hits = [(hit.id, hit.score) for one in retriever.search(queries, k=HITS) for hit in one]
    return {
        "seconds": seconds,
        "killed_after": killed,
        "items": gallery.count(),
        "version": gallery.version,
        "bytes": verified.bytes,
        "ids": ids,
        "values": values,
        "hits": hashlib.sha256(json.dumps(hits).encode()).hexdigest(),
    }


def makers() -> Iterator[psutil.Process]:
    """The processes of this program's actors that are making a part."""
    for process in psutil.Process().children(recursive=True):
        if "PartMaker" in " ".join(process.cmdline()):
            yield process


def digests(gallery: Gallery) -> tuple[str, str]:
    """SHA-256 of all ids, and of all stored values, in the table's order."""
    # A column at a time: batches end where files do.
    columns = {name: hashlib.sha256() for name in gallery.table.schema.names}
    for batch in gallery.table.search().limit(None).to_batches(AT_ONCE):
        columns["id"].update("\n".join(batch["id"].to_pylist()).encode() + b"\n")
        for name in batch.schema.names[1:]:
            columns[name].update(np.ascontiguousarray(flat(batch[name])).data)
    ids = columns.pop("id").hexdigest()
    values = json.dumps({name: column.hexdigest() for name, column in columns.items()})
    return ids, hashlib.sha256(values.encode()).hexdigest()


def flat(column: pa.Array) -> np.ndarray:
    """A column's values."""
    plain = column.flatten() if pa.types.is_nested(column.type) else column
    return plain.to_numpy(zero_copy_only=False)


def report(rows: dict[str, dict[str, Any]], same: dict[str, bool]) -> None:
    """Print the figures."""
    table = Table(title="a gallery in parts")
    for name in ("made by", "seconds", "images a second", "items", "version", "GB"):
        table.add_column(name)
    for name, row in rows.items():
        rate = f"{row['items'] / row['seconds']:,.0f}"
        cells = (f"{row['seconds']:.0f}", rate, f"{row['items']:,}", str(row["version"]))
        table.add_row(name, *cells, f"{row['bytes'] / 1e9:.1f}")
    Console().print(table)
    print("equal:", json.dumps(same))


if __name__ == "__main__":
    main()
