"""How often a gallery in an object store asks the store.

    python -m benchmarks.stores [--items 1000] [--precompute none]

IMRAM in text mode at its published sizes, random weights, a float16 gallery of random items, copied
into moto's S3 server on this machine. Requests are counted in the server's log. Times are not
measured: that server reads a whole object for every part of it. Prints a table and writes
benchmarks/results/stores.json.
"""

from __future__ import annotations

import argparse
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import obstore
import torch
from obstore.store import from_url
from rich.console import Console
from rich.table import Table

from benchmarks.matching import RESULTS, exported
from benchmarks.models import random_imram
from itr_deploy import Gallery, Matcher, Retriever
from itr_deploy.benchmarking.random_items import RandomItems
from itr_deploy.benchmarking.synthetic import synthetic_gallery
from itr_deploy.bundle.files import write_json

URL = "s3://bench/gallery"
ASKED = re.compile(r'"(GET|PUT|HEAD|DELETE|POST) (\S*) HTTP')
COLOURS = re.compile(r"\x1b\[\d+m")
KINDS = ("LIST", "GET", "HEAD", "PUT")
QUERY = "a man on a red bicycle in the street"


def main() -> None:
    """Measure one size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=1_000)
    parser.add_argument("--precompute", default="none", choices=("full", "none"))
    parser.set_defaults(family="imram", mode="text_IMRAM", steps=3, threads=None)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder, server(Path(folder)) as log:
        matcher = exported(arguments, random_imram(arguments), Path(folder))
        items = RandomItems(matcher)
        with synthetic_gallery(matcher, "image", arguments.items, items) as local:
            store = from_url(URL, client_options={"allow_http": True})
            for file in filter(Path.is_file, local.rglob("*")):
                obstore.put(store, file.relative_to(local).as_posix(), file)
        report(arguments, measured(matcher, items, log))


@contextmanager
def server(folder: Path) -> Iterator[Path]:
    """Moto's S3 server; yields its log."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log, endpoint = folder / "server.log", f"http://127.0.0.1:{port}"
    told = {"AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "bench"}
    os.environ.update({**told, "AWS_REGION": "us-east-1", "AWS_ENDPOINT": endpoint})
    with log.open("wb") as output:
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        for _ in range(600):
            try:
                with urlopen(Request(f"{endpoint}/bench", method="PUT"), timeout=5):
                    break
            except OSError:
                time.sleep(0.1)
        yield log
    finally:
        process.terminate()
        process.wait()


def measured(matcher: Matcher, items: RandomItems, log: Path) -> list[dict[str, Any]]:
    """Requests of everything that is done with a gallery."""
    rows = list[dict[str, Any]]()

    def count(what: str, work: Callable[[], Any]) -> Any:
        before = len(log.read_bytes())
        result = work()
        time.sleep(0.2)
        asked = ASKED.findall(COLOURS.sub("", log.read_bytes()[before:].decode()))
        kinds = Counter("LIST" if "list-type" in path else kind for kind, path in asked)
        rows.append({"what": what, **{kind: kinds[kind] for kind in KINDS}})
        return result

    gallery = count("open", lambda: Gallery.open(URL, matcher))
    size = gallery.count() * 4 * gallery.description.embedding_dim
    forms: dict[str, dict[str, Any]] = {
        "in memory": {"resident": True},
        "vectors in memory": {"resident": False, "memory_budget": 4 * size},
        "nothing in memory": {"resident": False, "memory_budget": size},
    }
    for name, how in forms.items():
        retriever = Retriever(matcher, Gallery.open(URL, matcher), **how)
        count(f"first search, {name}", lambda found=retriever: found.search(QUERY))
        count(f"search, {name}", lambda found=retriever: found.search(QUERY))
        if name == "in memory":
            resident = retriever
    count("refresh, nothing new", resident.refresh)
    one = items.images(1)
    count("add one item", lambda: gallery.add(["new"], one))
    count("refresh, one new", resident.refresh)
    count("upsert it", lambda: gallery.upsert(["new"], one))
    count("delete it", lambda: gallery.delete(["new"]))
    count("verify", gallery.verify)
    return rows


def report(arguments: argparse.Namespace, rows: list[dict[str, Any]]) -> None:
    """Print the table and keep it."""
    table = Table(title=f"{arguments.items} items of IMRAM, {arguments.precompute} precomputed")
    for column in ("", *KINDS):
        table.add_column(column, justify="left" if not column else "right")
    for row in rows:
        table.add_row(*(str(row[column]) for column in ("what", *KINDS)))
    Console().print(table)
    RESULTS.mkdir(exist_ok=True)
    write_json(RESULTS / "stores.json", {"items": arguments.items, "rows": rows})


if __name__ == "__main__":
    main()
