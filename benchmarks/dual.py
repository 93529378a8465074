"""One query of a dual encoder over a gallery in memory, against what it cannot do without.

    python -m benchmarks.dual [--model vsrn vse_infty-words] [--items 100000]

Published sizes, random weights. In one run, in turn: a search, the encoding of its text alone, and
the bare product of a vector with all vectors of the gallery, each from rest. The ratio is the
search's time over the sum of the other two.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.published import published_bundle
from itr_deploy import Matcher, Retriever
from itr_deploy.benchmarking.random_items import RandomItems
from itr_deploy.benchmarking.synthetic import synthetic_gallery

REST = 0.1
"""Seconds before each measurement: the threads of a product of matrices and of ONNX Runtime wait
awake for a while and would slow whatever comes next, which is the search of the round after."""


def main() -> None:
    """Measure each model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    models = ["vsrn", "vse_infty-words"]
    parser.add_argument("--model", nargs="+", default=models)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=40)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    table = Table(title=f"one query over {arguments.items:,} items in memory, milliseconds")
    for name in ("model", "search", "encoding", "bare product", "search / sum of both"):
        table.add_column(name, justify="left" if name == "model" else "right")
    for model in arguments.model:
        search, encoding, product = measured(model, arguments.items, arguments.rounds)
        ratio = search / (encoding + product)
        times = (f"{1e3 * seconds:.1f}" for seconds in (search, encoding, product))
        table.add_row(model, *times, f"{ratio:.2f}")
    Console(width=100).print(table)


def measured(model: str, items: int, rounds: int) -> tuple[float, float, float]:
    """Median seconds of a search, an encoding and a bare product."""
    with tempfile.TemporaryDirectory() as folder:
        matcher = Matcher.load(published_bundle(model, "float32", Path(folder)).path)
        made = RandomItems(matcher)
        queries = made.captions(rounds + 3)
        with synthetic_gallery(matcher, "image", items, made) as gallery:
            retriever = Retriever.load(
                matcher.bundle.path, gallery=gallery, resident=True, query_budget=0
            )
            retriever.warm_up()
            width = matcher.bundle.manifest.embedding_dim
            vectors = np.random.default_rng(0).standard_normal((items, width), np.float32)
            seconds: list[list[float]] = []
            for query in queries:
                one = matcher.encode_texts([query]).embedding[0]
                seconds.append(
                    [
                        _seconds(lambda query=query: retriever.search(query)),
                        _seconds(lambda query=query: matcher.encode_texts([query])),
                        _seconds(lambda one=one: vectors @ one),
                    ]
                )
    search, encoding, product = (
        statistics.median(column) for column in zip(*seconds[3:], strict=True)
    )
    return search, encoding, product


def _seconds(work: Callable[[], object]) -> float:
    time.sleep(REST)
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
