"""Shards in Ray's actors, one of which is killed under load, against one Retriever.

    python -m benchmarks.shards [--items 20000] [--shards 4] [--queries 200] [--folder kept]

IMRAM in text mode with ``--precompute none``: 36 regions of 1024 float16 values an image, its
published size, 73,728 bytes; random weights. The default cascade. One Retriever computes on all
cores; the shards' actors share them, each on one. The hits of all queries are compared. Then a
thread searches without a pause while an actor gets SIGKILL, once with partial answers wanted and
once with none. Prints a table and writes benchmarks/results/shards.json.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

import itr_deploy
from benchmarks.matching import RESULTS, exported
from benchmarks.models import random_imram
from benchmarks.parts import IMAGE_DIM, write_items
from itr_deploy import Hits, Retriever, ShardUnavailableError
from itr_deploy.bundle.files import write_json
from itr_deploy.runtime.cpus import available_cores
from itr_deploy.runtime.timing import StageTimes, timed_stages

BEFORE, AFTER, MOST = 2.0, 2.0, 60.0
"""Seconds of searches before the kill and after all is whole again, and the most in between."""


def main() -> None:
    """Make the gallery and its shards, then search both."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--shards", type=int, default=4)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--folder", help="where the galleries are made and kept for another run")
    parser.set_defaults(
        family="imram", mode="text_IMRAM", steps=3, precompute="none", threads=None,
        image_dim=IMAGE_DIM,
    )  # fmt: skip
    arguments = parser.parse_args()
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(arguments.folder or folder)
        if not (root / "shards").exists():
            root.mkdir(exist_ok=True)
            exported(arguments, random_imram(arguments), root / "made")
            write_items(root, arguments.items)
            itr_deploy.index(root / "made" / "bundle", data=str(root), output=str(root / "gallery"))
            itr_deploy.shard(root / "gallery", count=arguments.shards, output=root / "shards")
        result = measured(root, arguments)
    write_json(RESULTS / "shards.json", result)
    report(result)


def measured(root: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """All figures of one run."""
    bundle = root / "made" / "bundle"
    one = Retriever.load(
        bundle, root / "gallery", threads=available_cores(), resident=True, query_budget=0
    )
    # As texts: a query is encoded where it is asked.
    words = one.matcher.text.words
    rng = np.random.default_rng(1)
    queries = [" ".join(rng.choice(words, 10)) for _ in range(arguments.queries)]
    one.warm_up()
    begun = time.perf_counter()
    many = Retriever.load(
        bundle,
        root / "shards",
        threads=available_cores(),
        ray="local",
        missing_shards="partial",
        shard_threads=1,
        resident=True,
        query_budget=0,
    )
    many.warm_up()
    loaded = time.perf_counter() - begun
    alone, sharded = [], []
    same = exact = 0
    for query in queries:
        # In turn, so that both have the machine as it is.
        alone.append(timed(one, query))
        sharded.append(timed(many, query))
        found, expected = sharded[-1][1], alone[-1][1]
        same += found.ids == expected.ids and found.metadata == expected.metadata
        exact += bool(np.array_equal(found.scores, expected.scores))
    of_one, of_shards = (figures([one for one, _ in each]) for each in (alone, sharded))
    partial = killed(many, 1, queries)
    many.gallery.searcher.missing = "refuse"  # type: ignore[union-attr]
    refused = killed(many, 2 % arguments.shards, queries)
    again = sum(many.search(query).ids == one.search(query).ids for query in queries[:20])
    many.close()
    return {
        "items": arguments.items,
        "shards": arguments.shards,
        "queries": len(queries),
        "cores": available_cores(),
        "seconds_to_load": loaded,
        "equal_hits": same,
        "equal_scores": exact,
        "one_ms": of_one,
        "shards_ms": of_shards,
        "ratio": of_shards["median"] / of_one["median"],
        "killed, partial wanted": partial,
        "killed, all wanted": refused,
        "equal_hits_of_20_afterwards": again,
    }


def timed(retriever: Retriever, query: str) -> tuple[StageTimes, Hits]:
    """A search and its seconds."""
    with timed_stages() as times:
        hits = retriever.search(query)
    return times, hits


def figures(times: Sequence[StageTimes]) -> dict[str, float]:
    """Median, 95th percentile and the stages' medians in milliseconds."""
    total = [one.total for one in times]
    of_stages = {
        name: 1e3 * statistics.median(one.seconds[name] for one in times)
        for name in times[0].seconds
    }
    return {
        "median": 1e3 * statistics.median(total),
        "p95": 1e3 * float(np.quantile(total, 0.95)),
        **of_stages,
    }


def killed(retriever: Retriever, number: int, queries: Sequence[str]) -> dict[str, Any]:
    """Searches without a pause while the process of a shard's actor gets SIGKILL."""
    told: list[tuple[float, float, str]] = []
    ended = threading.Event()

    def search() -> None:
        while not ended.is_set():
            begun = time.perf_counter()
            try:
                hits = retriever.search(queries[len(told) % len(queries)])
                what = "partial" if hits.partial else "whole"
            except ShardUnavailableError:
                what = "refused"
            told.append((begun, time.perf_counter() - begun, what))

    searching = threading.Thread(target=search)
    searching.start()
    time.sleep(BEFORE)
    assert retriever.shards is not None
    process = int(retriever.shards[number].processes[0].rpartition(":")[2])
    os.kill(process, signal.SIGKILL)
    at = time.perf_counter()
    while time.perf_counter() - at < MOST and (
        not any(what != "whole" for _, _, what in told) or told[-1][2] != "whole"
    ):
        time.sleep(0.05)
    time.sleep(AFTER)
    ended.set()
    searching.join()
    without = [begun + taken for begun, taken, what in told if what != "whole"]
    return {
        "searches": len(told),
        "partial": sum(what == "partial" for _, _, what in told),
        "refused": sum(what == "refused" for _, _, what in told),
        "slowest_s": max(taken for _, taken, _ in told),
        "first_after_s": without[0] - at if without else None,
        "whole_after_s": without[-1] - at if without else None,
    }


def report(result: dict[str, Any]) -> None:
    """Print the figures."""
    table = Table(title=f"{result['items']:,} images, {result['shards']} shards")
    columns = [*result["one_ms"]]
    for name in ("ms", *columns):
        table.add_column(name)
    for name, key in (("one Retriever", "one_ms"), ("shards on Ray", "shards_ms")):
        table.add_row(name, *(f"{result[key][column]:.1f}" for column in columns))
    console = Console()
    console.print(table)
    console.print(
        f"equal hits: {result['equal_hits']} of {result['queries']} (scores to the last bit: "
        f"{result['equal_scores']}), ratio {result['ratio']:.2f}"
    )
    for name in ("killed, partial wanted", "killed, all wanted"):
        console.print(f"{name}: {result[name]}")


if __name__ == "__main__":
    main()
