"""What every matcher's row is measured by: the same pairs and queries, scores that must agree."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers.first import first_hit
from benchmarks.peers.installed import installed_bytes
from benchmarks.peers.registry import PEERS
from benchmarks.peers.table import Row
from benchmarks.peers.world import (
    CAPTIONS,
    IMAGES,
    LARGE,
    PAIRED,
    QUERIES,
    TOP,
    Part,
    World,
    kept_of_top,
)

TOLERANCE = 1e-4
"""Largest difference of a score from ours, which are sums of three cosines."""
MAKING = ("itr-deploy-bytes", "itr-deploy-codes")
"""Threads in which ours makes, beside the first searches, what the others are answered by."""
ROUNDS, SECONDS = 7, 15.0
"""How often something is timed, and after how many seconds no more."""

Floats = NDArray[np.float32]
Places = NDArray[np.int64]


class Opened(Protocol):
    """A peer with a part's images loaded, in the form that it keeps them in."""

    def scores(self, caption: int) -> Floats:
        """One caption, from its tokens, with every image: ``[N]``."""
        ...

    def search(self, caption: int) -> Places:
        """The places of the best `TOP` images."""
        ...

    def pairs(self, captions: Sequence[int]) -> Floats:
        """Several captions: ``[N, C]``."""
        ...


class OneByOne:
    """What a peer that scores a caption at a time makes of it."""

    def scores(self, caption: int) -> Floats:
        """See `Opened`."""
        raise NotImplementedError

    def search(self, caption: int) -> Places:
        """See `Opened`."""
        scores = self.scores(caption)
        best = np.argpartition(-scores, TOP)[:TOP]
        return best[np.argsort(-scores[best])]

    def pairs(self, captions: Sequence[int]) -> Floats:
        """See `Opened`."""
        return np.stack([self.scores(caption) for caption in captions], axis=1)


class Matching:
    """A matcher's work: `Work` of the registry, given what opens it.

    Attributes:
        name: In the registry.
        installs: The requirements that answering needs.
        exhaustive: Whether every image is scored for a query.
        one_length: Whether captions of other lengths would cost it minutes; then the pairs are of
            the queries, whose length is the mean of the others', and what is found that of one
            length.
        note: What is to be known about the row.
    """

    name: str
    installs: tuple[str, ...]
    exhaustive = True
    one_length = False
    note = ""

    def build(self, part: Part, folder: Path) -> None:
        """What is made once for a part, into an empty folder."""

    def open(self, part: Part, folder: Path, images: int) -> Opened:
        """What answers, with the part's first ``images`` images loaded."""
        raise NotImplementedError

    def prepare(self, world: World) -> None:
        """Build for both parts, if that has not been done."""
        for part, folder in self._parts(world):
            if not (folder / "built").exists():
                folder.mkdir(exist_ok=True)
                self.build(part, folder)
                (folder / "built").touch()

    def measure(self, world: World) -> Row:
        """See `Work`.

        Raises:
            ValueError: Its scores are not ours.
        """
        (published, at), (shapes, shapes_at) = self._parts(world)
        rate = self._pairs_per_second(published, at)
        opened = self.open(published, at, IMAGES)
        taken = median_seconds(
            [lambda c=c: opened.search(c) for c in range(CAPTIONS, CAPTIONS + QUERIES)]
        )
        figures = {"pairs_per_second": rate, "ms_1000": 1000 * taken}
        figures["recall"] = self._recall(shapes, shapes_at)
        figures["cold_start"], figures["memory"] = first_hit(self.name, world)
        figures["installed"] = installed_bytes(*self.installs)
        large = self.large(world)
        if large is None and self.exhaustive:
            large = 1000 * LARGE * min(taken / IMAGES, 1 / rate)
        if large is not None:
            figures["ms_100000"] = large
        reckoned = ("ms_100000",) if self.exhaustive else ()
        peer = PEERS[self.name]
        return Row(peer.title, peer.group, peer.version(), figures, reckoned, self.told(world))

    def told(self, world: World) -> str:
        """What is to be known about the row."""
        return self.note

    def large(self, world: World) -> float | None:
        """Milliseconds of a query over `LARGE` images, if they can be had."""
        return None

    def _parts(self, world: World) -> tuple[tuple[Part, Path], tuple[Part, Path]]:
        folder = world.of(self.name)
        return (world.published, folder / "published"), (world.shapes, folder / "shapes")

    def _pairs_per_second(self, part: Part, folder: Path) -> float:
        """Texts are encoded, images are already."""
        opened, scores = self.open(part, folder, PAIRED), part.array("scores")
        captions = list(range(CAPTIONS, scores.shape[1]) if self.one_length else range(CAPTIONS))
        check_agrees(opened.pairs(captions), scores[:, captions])
        return PAIRED * len(captions) / median_seconds([lambda: opened.pairs(captions)] * ROUNDS)

    def _recall(self, part: Part, folder: Path) -> float:
        scores, lengths = part.array("scores"), part.array("lengths")
        captions = np.arange(scores.shape[1])
        if self.one_length:
            captions = captions[lengths == np.bincount(lengths).argmax()]
        opened = self.open(part, folder, len(scores))
        found = np.stack([opened.search(caption) for caption in captions])
        return kept_of_top(scores[:, captions], found)


def check_agrees(found: Floats, ours: Floats) -> None:
    """Refuse a row of scores that are not ours.

    Raises:
        ValueError: They differ by more than `TOLERANCE`.
    """
    error = float(np.abs(found - ours).max())
    if not error <= TOLERANCE:
        raise ValueError(f"its scores differ from ours by up to {error:.1e}, so it has no row")


def median_seconds(runs: Sequence[Callable[[], object]]) -> float:
    """The median time of some calls after the first, which loads, until `SECONDS` are over."""
    runs[0]()
    for thread in threading.enumerate():
        if thread.name in MAKING:
            thread.join()
    end, taken = time.perf_counter() + SECONDS, []
    for run in runs[:ROUNDS]:
        begun = time.perf_counter()
        run()
        taken.append(time.perf_counter() - begun)
        if time.perf_counter() > end:
            break
    return statistics.median(taken)


def tokens(part: Part) -> list[NDArray[np.int64]]:
    """Every caption's tokens without padding, each ``[1, L]``."""
    rows = zip(part.array("ids"), part.array("lengths"), strict=True)
    return [np.array(row[None, :length]) for row, length in rows]
