"""What HTTP adds to a text's vector: this library's service and infinity's.

Both encode texts of 12 words by a BERT of one layer and return 1,024 numbers, so that a request is
little more than what the service does around it. Each is asked by clients of its own process, over
connections that are kept, by turns with the same call in process. The server's CPU time is counted
too: clients and server share the machine's cores.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import shutil
import socket
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.load import Load, closed, request
from benchmarks.peers.installed import installed_bytes
from benchmarks.peers.registry import HTTP, PEERS
from benchmarks.peers.table import Row
from benchmarks.peers.world import SEED, WORDS, World

TEXTS, VOCABULARY, CLIENTS = 64, 1000, 16
ROUNDS, SECONDS, PATIENCE = 4, 2.0, 60.0

OFFLINE = {"HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1", "INFINITY_ANONYMOUS_USAGE_STATS": "0"}
"""Of infinity's process: no look-ups of models, no reports."""


def texts() -> list[str]:
    """Different texts of `WORDS` words that both vocabularies have."""
    chosen = random.Random(SEED)
    return [
        " ".join(f"word{chosen.randrange(VOCABULARY // 2)}" for _ in range(WORDS))
        for _ in range(TEXTS)
    ]


@dataclass(frozen=True)
class Server:
    """A server that runs.

    Attributes:
        url: Its address, without a slash at the end.
        process: Its number.
        started: Seconds until it was ready.
    """

    url: str
    process: int
    started: float

    def cpu(self) -> float:
        """CPU seconds since it began."""
        fields = Path(f"/proc/{self.process}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def peak(self) -> int:
        """Bytes that were resident at the most."""
        lines = Path(f"/proc/{self.process}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) << 10


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as tried:
        tried.bind(("127.0.0.1", 0))
        port: int = tried.getsockname()[1]
        return port


@contextmanager
def running(command: Sequence[str], port: int, path: str) -> Iterator[Server]:
    """A server, from where ``path`` is answered with 200 until the block ends.

    Raises:
        RuntimeError: It ended, or was not ready in `PATIENCE` seconds.
    """
    begun, url = time.perf_counter(), f"http://127.0.0.1:{port}"
    process = subprocess.Popen(
        command,
        env={**os.environ, **OFFLINE},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while not _answers(url + path):
            if process.poll() is not None or time.perf_counter() > begun + PATIENCE:
                raise RuntimeError(f"{command[0]} was not ready")
            time.sleep(0.02)
        yield Server(url, process.pid, time.perf_counter() - begun)
        process.terminate()
        process.wait(PATIENCE)
    finally:
        process.kill()
        process.wait()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def figures(
    server: Server, path: str, bodies: Sequence[dict[str, Any]], inside: Callable[[str], object]
) -> dict[str, float]:
    """What requests take, by turns with the same in process.

    Args:
        server: What is asked.
        path: Of the request.
        bodies: The requests, one for each of `texts`.
        inside: The same call in this process.

    Raises:
        RuntimeError: A request was not answered with 200.
    """
    asked = [request(server.url, path, json.dumps(body).encode()) for body in bodies]
    alone, waited, rates, cpu = [], [], [], []
    for number in range(1 + ROUNDS):  # the first warms up
        alone.append(_milliseconds(inside))
        waited.append(_loaded(server, asked, 1).milliseconds(50))
        before = server.cpu()
        load = _loaded(server, asked, CLIENTS)
        cpu.append(1e3 * (server.cpu() - before) / len(load.answers))
        rates.append(load.rate)
        if not number:
            for column in (alone, waited, rates, cpu):
                column.clear()
    return {
        "in_process_ms": statistics.median(alone),
        "http_ms": statistics.median(waited),
        "overhead_ms": statistics.median(
            [over - within for over, within in zip(waited, alone, strict=True)]
        ),
        "requests_per_second": statistics.median(rates),
        "cpu_ms": statistics.median(cpu),
        "cold_start": server.started,
        "memory": float(server.peak()),
    }


def _loaded(server: Server, asked: Sequence[bytes], clients: int) -> Load:
    load = closed(server.url, asked, clients, SECONDS)
    if list(load.statuses) != [200]:
        raise RuntimeError(f"{server.url} answered {load.statuses}")
    return load


def _milliseconds(call: Callable[[str], object]) -> float:
    given, seconds, end = texts(), [], time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        begun = time.perf_counter()
        call(given[len(seconds) % len(given)])
        seconds.append(time.perf_counter() - begun)
    return 1e3 * statistics.median(seconds)


class Ours:
    """`itr-deploy serve` with a VSE-infinity of regions whose text part is that BERT."""

    name, path = "embeddings-http", "/v1/embeddings"
    items = 1000

    def prepare(self, world: World) -> None:
        """The bundle and a gallery of 1,000 random images."""
        import torch

        from benchmarks.models import random_vocabulary, random_vse_infty
        from itr_deploy import Gallery, Matcher
        from itr_deploy.benchmarking.random_items import RandomItems
        from itr_deploy.exporters.build import Source, build_bundle

        folder = world.of("http")
        if (folder / "done").exists():
            return
        shutil.rmtree(folder)
        (folder / "bundle").mkdir(parents=True)
        torch.manual_seed(SEED)
        trained = random_vse_infty(argparse.Namespace(images="regions", bert="small"))
        torch.save({}, folder / "weights.pt")
        text = random_vocabulary("vse_infty", folder, VOCABULARY, pieces=True)
        source = Source("vse_infty", folder / "weights.pt", trained, text)
        build_bundle(source, folder / "bundle", opset=20)
        matcher = Matcher.load(folder / "bundle")
        gallery = Gallery.create(folder / "gallery", matcher)
        names = [str(number) for number in range(self.items)]
        gallery.add(names, RandomItems(matcher).make("image", self.items))
        (folder / "done").touch()

    def measure(self, world: World) -> Row:
        """See `figures`."""
        folder, port = world.of("http"), free_port()
        program = "from itr_deploy.cli.main import main; main()"
        command = [sys.executable, "-c", program, "serve", str(folder / "bundle")]
        command += ["--gallery", str(folder / "gallery"), "--port", str(port), "--quiet"]
        command += ["--query-budget", "0"]  # the same text is asked again and again
        with running(command, port, "/readyz") as server:
            found = figures(server, self.path, self.bodies(), self.inside(folder))
        found["installed"] = installed_bytes("itr-deploy[cpu,serve]")
        peer = PEERS[self.name]
        return Row(peer.title, HTTP, peer.version(), found)

    def bodies(self) -> list[dict[str, Any]]:
        """The requests."""
        return [{"input": text} for text in texts()]

    def inside(self, folder: Path) -> Callable[[str], object]:
        """The same in process."""
        from itr_deploy import Matcher

        matcher = Matcher.load(folder / "bundle")
        return lambda text: matcher.encode_texts([text])


class OurSearch(Ours):
    """The same service, which encodes the text and finds the best of 1,000 images."""

    name, path = "search-http", "/v1/search"

    def bodies(self) -> list[dict[str, Any]]:
        """The requests."""
        return [{"query": text} for text in texts()]

    def inside(self, folder: Path) -> Callable[[str], object]:
        """The same in process."""
        from itr_deploy import Retriever

        retriever = Retriever.load(folder / "bundle", folder / "gallery", query_budget=0)
        return retriever.search


class Infinity:
    """The server of infinity, with PyTorch."""

    def prepare(self, world: World) -> None:
        """A BERT of the same sizes, with a Linear to 1,024 numbers, as sentence-transformers'."""
        os.environ.update(OFFLINE)
        from sentence_transformers import SentenceTransformer, models
        from transformers import BertConfig, BertModel, BertTokenizerFast

        folder = world.of("infinity")
        if (folder / "model").exists():
            return
        special = ["[PAD]", "[CLS]", "[SEP]", "[UNK]"]
        words = [*special, *(f"word{number}" for number in range(VOCABULARY - len(special)))]
        (folder / "vocab.txt").write_text("\n".join(words))
        sizes = {"hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4}
        config = BertConfig(
            vocab_size=VOCABULARY, intermediate_size=64, max_position_embeddings=64, **sizes
        )
        BertModel(config).save_pretrained(folder / "bert")
        BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder / "bert")
        bert = models.Transformer(str(folder / "bert"), max_seq_length=64)
        after = [models.Pooling(64), models.Dense(64, 1024), models.Normalize()]
        SentenceTransformer(modules=[bert, *after]).save(str(folder / "model"))

    def measure(self, world: World) -> Row:
        """See `figures`."""
        model, port = str(world.of("infinity") / "model"), free_port()
        command = [str(Path(sys.executable).with_name("infinity_emb")), "v2", "--device", "cpu"]
        command += ["--engine", "torch", "--no-bettertransformer", "--model-id", model]
        command += ["--host", "127.0.0.1", "--port", str(port)]
        bodies = [{"input": [text], "model": model} for text in texts()]
        with running(command, port, "/health") as server, _engine(model) as embed:
            found = figures(server, "/embeddings", bodies, embed)
        found["installed"] = installed_bytes("infinity-emb[server,torch]")
        return Row(PEERS["infinity"].title, HTTP, PEERS["infinity"].version(), found)


@contextmanager
def _engine(model: str) -> Iterator[Callable[[str], object]]:
    """The engine of infinity in this process, as a function of one text."""
    os.environ.update(OFFLINE)
    from infinity_emb import AsyncEmbeddingEngine, EngineArgs
    from infinity_emb.primitives import Device

    loop = asyncio.new_event_loop()
    settings = EngineArgs(model_name_or_path=model, device=Device.cpu, bettertransformer=False)
    engine = AsyncEmbeddingEngine.from_args(settings)
    loop.run_until_complete(engine.astart())
    try:
        yield lambda text: loop.run_until_complete(engine.embed(sentences=[text]))
    finally:
        loop.run_until_complete(engine.astop())
        loop.close()
