"""Libraries of vectors instead of our coarse stage: shortlists of the largest products.

The vectors of the times are those of `benchmarks.coarse`, near a curved sheet, as a trained model's
are; what the matcher's top 10 keep is measured with the coarse embeddings of the trained IMRAM of
`examples/shapes`. Of a library's settings the quickest one is shown that keeps 99 % of the exact
shortlist, else the one that keeps most, as in `benchmarks.coarse`, which compares more indexes.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.coarse import KEPT, Sheet
from benchmarks.coarse_peers import Exact, Faiss, Floats, Lance, OwnCodes, Peer, Places, Usearch
from benchmarks.peers.installed import installed_bytes
from benchmarks.peers.registry import PEERS
from benchmarks.peers.table import Row
from benchmarks.peers.world import IMAGES, LARGE, QUERIES, TOP, World

WIDTH, NARROW = 300, 50
"""Width of a shortlist: the default cascade's, and of the shapes world's 250 images."""
DIMENSIONS = 1024
REST = 0.5
"""Seconds after a product by BLAS, whose threads wait awake for a while."""


@dataclass(frozen=True)
class Found:
    """A library with some vectors.

    Attributes:
        peer: The library.
        build: Seconds.
        memory: Bytes that it takes besides the vectors.
        milliseconds: Of a query.
        effort: The setting.
        top: The share of the exact `TOP` that it returns when asked for so many.
    """

    peer: Peer
    build: float
    memory: int
    milliseconds: float
    effort: float
    top: float


class Vectors:
    """The work of one library."""

    name: str
    make: Callable[[], Peer]
    installs: tuple[str, ...]
    note = ""

    def prepare(self, world: World) -> None:
        """The vectors, and the shapes world's coarse embeddings."""
        folder = world.of("vectors")
        if (folder / "done").exists():
            return
        from itr_deploy import Matcher

        sheet = Sheet(DIMENSIONS)
        np.save(folder / "items.npy", np.concatenate([part for _, part in sheet.batches(LARGE)]))
        np.save(folder / "queries.npy", sheet.vectors(1 + QUERIES, 0.1))
        matcher, shapes = Matcher.load(world.shapes.bundle), world.shapes
        images = matcher.encode_images(np.array(shapes.array("regions")))
        np.save(folder / "images.npy", images.embedding)
        np.save(folder / "texts.npy", matcher.encode_texts(shapes.captions()).embedding)
        (folder / "done").touch()

    def measure(self, world: World) -> Row:
        """One query over both numbers of vectors, and what the shapes world's shortlists keep."""
        folder = world.of("vectors")
        items, queries = np.load(folder / "items.npy"), np.load(folder / "queries.npy")
        few = self._found(items[:IMAGES].copy(), queries)
        many = self._found(items, queries)
        figures = {
            "ms_1000": few.milliseconds,
            "ms_100000": many.milliseconds,
            "vectors_top": many.top,
            "recall": self._kept(folder, world),
            "build": many.build,
            "beside": float(many.memory),
            "installed": float(installed_bytes(*self.installs)),
        }
        peer = PEERS[self.name]
        return Row(peer.title, peer.group, peer.version(), figures, (), self.note)

    def _found(self, vectors: Floats, queries: Floats) -> Found:
        peer, before, begun = self.make(), _anonymous(), time.perf_counter()
        peer.build(vectors)
        build, memory = time.perf_counter() - begun, max(0, _anonymous() - before)
        exact = [vectors @ query for query in queries[1:]]
        time.sleep(REST)
        tried = []
        for effort in peer.efforts:
            milliseconds, kept = timed(peer, queries, exact, WIDTH, effort)
            tried.append((kept, milliseconds, effort))
        enough = [one for one in tried if one[0] >= KEPT]
        _, milliseconds, effort = min(enough, key=lambda one: one[1]) if enough else max(tried)
        top = timed(peer, queries, exact, TOP, effort)[1]
        return Found(peer, build, memory, milliseconds, effort, top)

    def _kept(self, folder: Path, world: World) -> float:
        """Share of the matcher's `TOP` in shortlists of `NARROW`."""
        images, texts = np.load(folder / "images.npy"), np.load(folder / "texts.npy")
        peer = self.make()
        peer.build(images)
        scores = world.shapes.array("scores")
        return float(
            np.mean(
                [
                    share(peer.search(text, NARROW, max(peer.efforts)), scores[:, number], TOP)
                    for number, text in enumerate(texts)
                ]
            )
        )


def timed(
    peer: Peer, queries: Floats, exact: list[Floats], width: int, effort: float
) -> tuple[float, float]:
    """Milliseconds of a query, the median, and the mean share of the exact shortlist."""
    peer.search(queries[0], width, effort)
    taken, kept = [], []
    for query, products in zip(queries[1:], exact, strict=True):
        begun = time.perf_counter()
        found = peer.search(query, width, effort)
        taken.append(time.perf_counter() - begun)
        kept.append(share(found, products, width))
    return 1000 * statistics.median(taken), statistics.mean(kept)


def share(found: Places, values: Any, count: int) -> float:
    """The share of the places of the ``count`` largest values that was found."""
    best = np.argpartition(values, len(values) - count)[-count:]
    return len(np.intersect1d(found, best)) / count


def _anonymous() -> int:
    """Bytes of the process's own memory."""
    with Path("/proc/self/status").open() as lines:
        found = next(line for line in lines if line.startswith("RssAnon"))
    return int(found.split()[1]) << 10


class OwnMemory(Vectors):
    """A gallery in memory: every product, from 100,000 items on by codes."""

    name, installs = "vectors", ("itr-deploy[cpu,faiss]",)
    note = "codes are made whenever a gallery is loaded"

    def _found(self, vectors: Floats, queries: Floats) -> Found:
        from itr_deploy.runtime.gallery.codes import FROM

        self.make = OwnCodes if len(vectors) >= FROM else Exact
        return super()._found(vectors, queries)

    def _kept(self, folder: Path, world: World) -> float:
        self.make = Exact
        return super()._kept(folder, world)


class LanceScan(Vectors):
    """LanceDB as it is without an index."""

    name, installs = "lancedb", ("lancedb",)

    @staticmethod
    def make() -> Peer:
        """See `Vectors`."""
        return Lance(lambda count: None)


class UsearchInt8(Vectors):
    """usearch with 8 bits, refined by the exact products."""

    name, installs = "usearch", ("usearch", "numpy")

    @staticmethod
    def make() -> Peer:
        """See `Vectors`."""
        return Usearch("i8")


class FaissFlat(Vectors):
    """faiss, every product."""

    name, installs = "faiss-flat", ("faiss-cpu", "numpy")

    @staticmethod
    def make() -> Peer:
        """See `Vectors`."""
        return Faiss("Flat", (1,))


class FaissLists(Vectors):
    """faiss, lists of RaBitQ's codes, refined by the exact products."""

    name, installs = "faiss-ivf", ("faiss-cpu", "numpy")

    @staticmethod
    def make() -> Peer:
        """See `Vectors`."""
        return Faiss("RR,IVF{lists},RaBitQfs", (4, 8, 16))
