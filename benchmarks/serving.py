"""`itr-deploy serve` under load, against the retriever's own rate in the same run.

    python -m benchmarks.serving [--items 1000 10000] [--rounds 5] [--seconds 6]
    python -m benchmarks.serving --bundle demo/bundle --gallery demo/gallery

IMRAM in text mode at its published sizes, random weights, galleries of random items in memory; or a
bundle and a gallery of yours. The server is a process of its own; its clients run in this one, on
the same cores, and what they cost is told, as is what other processes took.

Rates: the retriever is called with as many queries as the server puts in one call, and takes turns
with the server. Loads, in multiples of what the server can do: clients that wait for their answers
(closed), and clients that come whether or not, evenly or at random moments. At random moments and
half of what it can do, any one server whose answers all take the same time has a 99th percentile of
4.2 times the median (M/D/1).

Every hit is compared with the retriever's. Prints tables, writes benchmarks/results/serving.json,
and ends with 1 if an answer was wrong, or neither right nor a clean refusal.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import psutil
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.load import Load, closed, open_ended, request
from benchmarks.matching import RESULTS, exported
from benchmarks.models import random_imram
from itr_deploy import Hits, Retriever
from itr_deploy.benchmarking.random_items import RandomItems
from itr_deploy.benchmarking.synthetic import synthetic_gallery
from itr_deploy.bundle.files import write_json

QUERIES = 64
"""Number of different queries."""

BATCH = 8
"""Queries of a call: the server's default."""

FULL = 2 * BATCH
"""Clients that keep the server busy: one call's are computed while the next call's wait."""

TOLERANCE = 1e-4
"""Of scores that are computed in calls of different sizes."""

CLEAN = (429, 503, 504)
"""Statuses of a refusal that tells to try again, or that time has run out."""


@dataclass(frozen=True)
class Way:
    """A way to ask, and the retriever's call that is equal to it.

    Attributes:
        name: For the table.
        max_batch: The server's ``--max-batch``.
        clients: How many ask at a time.
        texts: Queries of a request.
        called: Queries of the retriever's call.
    """

    name: str
    max_batch: int
    clients: int
    texts: int
    called: int


WAYS = (
    Way("one query a call", 1, 2, 1, 1),
    Way(f"calls of {BATCH}", BATCH, FULL, 1, BATCH),
    Way(f"requests of {BATCH} texts", BATCH, 2, BATCH, BATCH),
)


def main() -> None:
    """Measure every gallery."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, nargs="+", default=[1_000, 10_000])
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--gallery", type=Path)
    parser.add_argument("--rounds", type=int, default=5, help="turns of each side")
    parser.add_argument("--seconds", type=float, default=6.0, help="of a turn, and half a load's")
    parser.add_argument("--loads", type=float, nargs="+", default=[0.5, 1, 2, 4])
    parser.add_argument("--precompute", default="full", choices=("full", "none"))
    arguments = parser.parse_args()
    if (arguments.bundle is None) != (arguments.gallery is None):
        parser.error("--bundle and --gallery go together")
    found = [
        measured(arguments, *where)
        for where in (given(arguments) if arguments.bundle else synthetic(arguments))
    ]
    configuration = {name: str(value) for name, value in vars(arguments).items()}
    write_json(RESULTS / "serving.json", {"configuration": configuration, "galleries": found})
    sys.exit(1 if any(load["bad"] for one in found for load in one["loads"]) else 0)


def given(arguments: argparse.Namespace) -> Iterator[tuple[Path, Path]]:
    """The bundle and the gallery of the command line."""
    yield arguments.bundle, arguments.gallery


def synthetic(arguments: argparse.Namespace) -> Iterator[tuple[Path, Path]]:
    """A bundle at published sizes and a gallery of each size."""
    torch.manual_seed(0)
    settings = {"family": "imram", "mode": "text_IMRAM", "steps": 3, "threads": None}
    settings["precompute"] = arguments.precompute
    export = argparse.Namespace(**settings)
    with tempfile.TemporaryDirectory() as folder:
        matcher = exported(export, random_imram(export), Path(folder))
        for count in arguments.items:
            with synthetic_gallery(matcher, "image", count, RandomItems(matcher)) as gallery:
                yield matcher.bundle.path, gallery


def measured(arguments: argparse.Namespace, bundle: Path, gallery: Path) -> dict[str, Any]:
    """Rates and loads of one gallery; printed as they are known."""
    retriever = Retriever.load(bundle, gallery, query_budget=0)
    queries = RandomItems(retriever.matcher, seed=1).make("text", QUERIES)
    expected = [retriever.search(query) for query in queries]
    count = retriever.gallery.count()
    rates = [rate(way, arguments, bundle, gallery, retriever, queries, expected) for way in WAYS]
    show_rates(rates, count)
    loads = list(all_loads(arguments, bundle, gallery, queries, expected))
    show_loads(loads, count)
    return {"items": count, "rates": rates, "loads": loads}


def rate(
    way: Way,
    arguments: argparse.Namespace,
    bundle: Path,
    gallery: Path,
    retriever: Retriever,
    queries: list[str],
    expected: Sequence[Hits],
) -> dict[str, Any]:
    """Queries a second over HTTP and in process, which take turns."""
    inside, outside, ratios, spent, cost, made, others = ([] for _ in range(7))
    with serving(bundle, gallery, "--max-batch", way.max_batch) as server:
        asked = [
            server.request({"queries": queries[n : n + way.texts]})
            if way.texts > 1
            else server.request({"query": queries[n]})
            for n in range(0, QUERIES, way.texts)
        ]
        for number in range(1 + arguments.rounds):  # the first round warms up
            seconds = arguments.seconds if number else 2.0
            alone, cpu_alone = in_process(retriever, queries, way.called, seconds)
            calls, searched, cpu = server.calls(), server.searched(), server.cpu()
            busy = Busy()
            load = closed(server.url, asked, way.clients, seconds)
            if number:
                done = way.texts * len(load.answers)
                inside.append(alone)
                outside.append(way.texts * load.rate)
                ratios.append(outside[-1] / alone)
                spent.append((server.cpu() - cpu) / done / cpu_alone)
                cost.append(1e3 * load.cpu_seconds / done)
                others.append(busy.others(server.cpu() - cpu + load.cpu_seconds))
                made.append((server.searched() - searched) / (server.calls() - calls))
                assert not bad(load, expected, way.texts)
    return {
        "way": way.name,
        "queries_a_call": statistics.median(made),
        "in_process": statistics.median(inside),
        "http": statistics.median(outside),
        "ratio": statistics.median(ratios),
        "ratios": ratios,
        "cpu_ratio": statistics.median(spent),
        "client_cpu_ms": statistics.median(cost),
        "others": statistics.median(others),
    }


def in_process(
    retriever: Retriever, queries: list[str], size: int, seconds: float
) -> tuple[float, float]:
    """Queries a second of one thread with so many a call, and CPU seconds a query."""
    done, begun, cpu = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() < begun + seconds:
        start = done % QUERIES
        part = queries[start : start + size]
        retriever.search(part[0] if size == 1 else part)
        done += size
    return done / (time.perf_counter() - begun), (time.process_time() - cpu) / done


def all_loads(
    arguments: argparse.Namespace,
    bundle: Path,
    gallery: Path,
    queries: list[str],
    expected: Sequence[Hits],
) -> Iterator[dict[str, Any]]:
    """Every load on one server, in multiples of its capacity."""
    seconds = 2 * arguments.seconds
    with serving(bundle, gallery) as server:
        asked = [server.request({"query": query}) for query in queries]
        closed(server.url, asked, FULL, 2.0)
        capacity = statistics.median(
            closed(server.url, asked, FULL, arguments.seconds).rate for _ in range(3)
        )
        kinds: dict[str, Callable[[float], Load]] = {
            "closed": lambda times: closed(server.url, asked, max(1, round(times * FULL)), seconds),
            "even": lambda times: open_ended(
                server.url, asked, times * capacity, seconds, evenly=True
            ),
            "random": lambda times: open_ended(server.url, asked, times * capacity, seconds),
        }
        for kind, make in kinds.items():
            for times in arguments.loads:
                busy, cpu = Busy(), server.cpu()
                load = make(times)
                yield {
                    "kind": kind,
                    "load": times,
                    "asked": times * capacity if kind != "closed" else None,
                    "answered": load.rate,
                    "p50": load.milliseconds(50),
                    "p95": load.milliseconds(95),
                    "p99": load.milliseconds(99),
                    "statuses": {str(status): n for status, n in load.statuses.items()},
                    "refused": load.share(429),
                    "client_cpu": load.cpu_seconds / load.seconds,
                    "others": busy.others(server.cpu() - cpu + load.cpu_seconds),
                    "memory_mb": server.memory() / 1e6,
                    "bad": bad(load, expected),
                }


class Busy:
    """What keeps the machine's cores busy, from now on."""

    def __init__(self) -> None:
        self._begun, self._seconds = time.perf_counter(), self._spent()

    def others(self, ours: float) -> float:
        """Cores that other processes kept busy, all of them together, beside our CPU seconds."""
        taken = time.perf_counter() - self._begun
        return max(0.0, self._spent() - self._seconds - ours) / taken

    @staticmethod
    def _spent() -> float:
        times = psutil.cpu_times()
        return float(sum(times) - times.idle - times.iowait - times.guest - times.guest_nice)


def bad(load: Load, expected: Sequence[Hits], texts: int = 1) -> list[str]:
    """Answers that are neither right nor a clean refusal."""
    found = []
    for answer in load.answers:
        if answer.status in CLEAN:
            if answer.status != 504 and not answer.retry_after:
                found.append(f"{answer.status} without Retry-After")
        elif answer.status != 200:
            found.append(f"{answer.status}: {answer.body[:200]!r}")
        else:
            told = json.loads(answer.body)
            for number, result in enumerate(told.get("results", [told])):
                if not same(result["hits"], expected[answer.number * texts + number]):
                    found.append(f"query {answer.number}: other hits than alone")
    return found


def same(found: Sequence[dict[str, Any]], expected: Hits) -> bool:
    """Whether hits over HTTP are those of the retriever; ties within the tolerance may swap."""
    if len(found) != len(expected):
        return False
    scores = [(one["score"], other.score) for one, other in zip(found, expected, strict=True)]
    if any(abs(one - other) > TOLERANCE for one, other in scores):
        return False
    known = {hit.id: hit.score for hit in expected}
    last = expected[len(expected) - 1].score
    return all(abs(known.get(one["id"], last) - one["score"]) <= TOLERANCE for one in found)


@dataclass(frozen=True)
class Serving:
    """A server that runs.

    Attributes:
        url: Its address.
        process: Its process.
    """

    url: str
    process: psutil.Process

    def request(self, body: dict[str, Any]) -> bytes:
        """A search."""
        return request(self.url, "/v1/search", json.dumps(body).encode())

    def cpu(self) -> float:
        """CPU seconds since it started."""
        times = self.process.cpu_times()
        return float(times.user + times.system)

    def memory(self) -> int:
        """Bytes that are resident."""
        return int(self.process.memory_info().rss)

    def calls(self) -> float:
        """Calls of the retriever since it started."""
        return self._figure("itr_batch_queries_count")

    def searched(self) -> float:
        """Queries of these calls."""
        return self._figure("itr_batch_queries_sum")

    def _figure(self, name: str) -> float:
        lines = httpx2.get(f"{self.url}metrics").text.splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith(f"{name} "))


@contextmanager
def serving(bundle: Path, gallery: Path, *options: object) -> Iterator[Serving]:
    """``itr-deploy serve`` on a free port, until the block ends; then it is told to end."""
    words = [bundle, "--gallery", gallery, "--port", 0, "--refresh", 0, "--drain-delay", 0]
    program = "from itr_deploy.cli.main import main; main()"
    command = [sys.executable, "-c", program, "serve", *map(str, words), *map(str, options)]
    command += ["--query-budget", "0"]  # queries are asked again and again
    process = subprocess.Popen([*command, "--quiet"], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        told = process.stdout.readline()
        if not told.startswith("ready: "):
            sys.exit("the server did not start")
        yield Serving(told.split()[1], psutil.Process(process.pid))
        process.terminate()
        if process.wait(60):
            sys.exit(f"the server ended with {process.returncode}")
    finally:
        process.kill()
        process.wait()


def show_rates(rows: Sequence[dict[str, Any]], items: int) -> None:
    """Print the rates."""
    table = Table(title=f"queries a second, {items:,} items, medians")
    headings = (
        "",
        "queries a call",
        "in process",
        "HTTP",
        "ratio",
        "from to",
        "CPU",
        "client ms",
        "others",
    )
    for heading in headings:
        table.add_column(heading)
    for row in rows:
        table.add_row(
            row["way"],
            f"{row['queries_a_call']:.1f}",
            f"{row['in_process']:.1f}",
            f"{row['http']:.1f}",
            f"{row['ratio']:.2f}",
            f"{min(row['ratios']):.2f} {max(row['ratios']):.2f}",
            f"{row['cpu_ratio']:.2f}",
            f"{row['client_cpu_ms']:.2f}",
            f"{row['others']:.1f}",
        )
    Console(width=120).print(table)


def show_loads(rows: Sequence[dict[str, Any]], items: int) -> None:
    """Print the loads."""
    table = Table(title=f"loads, {items:,} items; times in ms of what was answered")
    headings = (
        "",
        "times",
        "asked/s",
        "answered/s",
        "p50",
        "p95",
        "p99",
        "p99/p50",
        "429",
        "other",
    )
    for heading in (*headings, "clients", "others", "MB", "bad"):
        table.add_column(heading)
    for row in rows:
        others = {s: n for s, n in row["statuses"].items() if s not in ("200", "429")}
        table.add_row(
            row["kind"],
            f"{row['load']:g}",
            "" if row["asked"] is None else f"{row['asked']:.1f}",
            f"{row['answered']:.1f}",
            *(f"{row[name]:.0f}" for name in ("p50", "p95", "p99")),
            f"{row['p99'] / row['p50']:.1f}",
            f"{row['refused']:.0%}",
            " ".join(f"{status}: {count}" for status, count in others.items()),
            f"{row['client_cpu']:.2f}",
            f"{row['others']:.1f}",
            f"{row['memory_mb']:,.0f}",
            str(len(row["bad"])),
        )
    Console(width=130).print(table)
    for row in rows:
        for one in row["bad"][:3]:
            Console().print(one)


if __name__ == "__main__":
    main()
