"""Which items may be in a shortlist, by one bit per dimension of every coarse embedding.

RaBitQ's codes (Gao and Long, SIGMOD 2024), which faiss compares in blocks of 32: an estimate of
every product from a thirtieth of the bytes, whose error shrinks with the width of the vectors.
Nothing is trained but a mean, and nothing but the vectors is needed. So codes are made where the
vectors are in memory, and never stored: they cannot be out of date, damaged or another gallery's.
"""

from __future__ import annotations

import logging
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from itr_deploy.runtime.gallery.pausing import Pause, at_once
from itr_deploy.runtime.products import of_one

log = logging.getLogger(__name__)

FROM = 100_000
"""Number of items from which codes are made; the products of fewer take some milliseconds."""
LEAST = 16_384
"""Rows that are encoded apart from others; fewer that are added are compared exactly."""

_PART = 50_000
"""Rows that are worth a thread."""
_STEP = 8_192
_TRAINED = 10_000
_FACTORS = 8
"""Bytes of a code beside its bits: two numbers that turn a sum of bits into a product."""

Vectors = NDArray[np.float32]


class Found(NamedTuple):
    """The items with the largest estimates, in no order.

    Attributes:
        places: ``int64 [n]``.
        estimates: Of their products, ``float32 [n]``.
        cut: No other item up to ``covered`` has a larger estimate.
        covered: Number of items that were looked at, the first ones.
    """

    places: NDArray[np.int64]
    estimates: NDArray[np.float32]
    cut: float
    covered: int


@dataclass(frozen=True, eq=False)
class _Part:
    """Consecutive rows, encoded around their own mean."""

    start: int
    stop: int
    index: Any

    @property
    def rows(self) -> int:
        return self.stop - self.start


class Codes:
    """The codes of vectors that grow at their end. Safe to use from several threads."""

    def __init__(self) -> None:
        """Begin without any."""
        # Assigned as a whole, so that a search needs no lock.
        self._parts: tuple[_Part, ...] = ()
        self._pool: ThreadPoolExecutor | None = None
        self._encoding = threading.Lock()
        self._beside = False

    @property
    def covered(self) -> int:
        """Number of vectors that have codes, the first ones."""
        parts = self._parts
        return parts[-1].stop if parts else 0

    def due(self, count: int) -> bool:
        """Whether codes are worth making, of ``count`` vectors."""
        late = count - self.covered
        return count >= FROM and late >= (LEAST if self.covered else 1) and available()

    def encode(self, vectors: Vectors, threads: int = 1, pause: Pause = at_once) -> None:
        """Make codes of what has none yet; returns at once if this is being done.

        Args:
            vectors: All of them, ``[N, E]``; the first ones are those of earlier calls.
            threads: Computing here, and at each search.
            pause: Called after every few vectors with the seconds that they took.
        """
        if self._encoding.acquire(blocking=False):
            try:
                self._use(_encoded(self._parts, vectors, threads, pause), threads)
            finally:
                self._encoding.release()

    def encode_beside(self, vectors: Vectors, threads: int, pause: Pause) -> None:
        """As `encode`, in a thread of its own, which ends early when nobody has these codes."""
        with self._encoding:
            if self._beside:
                return
            self._beside = True
        own = weakref.ref(self)

        def paused(seconds: float) -> None:
            pause(seconds)
            if own() is None:
                raise _UnwantedError

        def work(parts: tuple[_Part, ...]) -> None:
            began = time.perf_counter()
            made = None
            try:
                made = _encoded(parts, vectors, threads, paused)
            except _UnwantedError:
                return
            except Exception as error:  # a broken library raises anything
                log.warning("shortlists of %d items stay exact: %s", len(vectors), error)
            if (codes := own()) is not None and codes._take(parts, made, threads):
                log.info(
                    "shortlists of %d items by their codes, made in %.1f s",
                    *(len(vectors), time.perf_counter() - began),
                )

        # The program may end at any time; the vectors are only read.
        thread = threading.Thread(
            target=work, args=(self._parts,), name="itr-deploy-codes", daemon=True
        )
        thread.start()

    def _take(
        self, before: tuple[_Part, ...], made: tuple[_Part, ...] | None, threads: int
    ) -> bool:
        """What the thread has made, if anything, and if nobody was faster."""
        with self._encoding:
            self._beside = False
            if made is None or self._parts is not before:
                return False
            self._use(made, threads)
            return True

    def _use(self, parts: tuple[_Part, ...], threads: int) -> None:
        if threads > 1 and self._pool is None:
            # Besides the thread that asks.
            self._pool = ThreadPoolExecutor(threads - 1, "itr-deploy-scan")
        self._parts = parts

    def nearest(self, query: Vectors, count: int, limit: int) -> Found | None:
        """The items whose products are probably the largest.

        Args:
            query: ``[E]``.
            count: How many.
            limit: Number of items that take part, the first ones; others may have codes too.

        Returns:
            None if estimates are no help: items that are all alike, a query of no numbers.
        """
        parts = [part for part in self._parts if part.start < limit]
        turned = _Turn.of(len(query)).one(query)[None]

        def scan(part: _Part) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
            estimates, places = part.index.search(turned, min(count, part.rows))
            return estimates[0], np.where(places[0] < 0, places[0], places[0] + part.start)

        pool = self._pool
        if pool is None:
            found = [scan(part) for part in parts]
        else:
            others = pool.map(scan, parts[1:])
            found = [scan(parts[0]), *others]
        estimates, places = map(np.concatenate, zip(*found, strict=True))
        if (places < 0).any():
            return None
        if len(places) > count:
            top = np.argpartition(estimates, len(places) - count)[-count:]
            estimates, places = estimates[top], places[top]
        cut, covered = float(estimates.min()), min(limit, parts[-1].stop)
        there = places < limit
        return Found(places[there], estimates[there], cut, covered)

    @property
    def bytes(self) -> int:
        """Bytes in memory."""
        return sum(size(part.rows, part.index.d) for part in self._parts)


def size(items: int, width: int) -> int:
    """Bytes that the codes of vectors take."""
    return items * (-(-width // 8) + _FACTORS)


def wanted_bytes(items: int, width: int) -> int:
    """Bytes of the codes that will be made of a gallery's vectors, 0 if none will."""
    return size(items, width) if items >= FROM and available() else 0


@lru_cache(maxsize=1)
def available() -> bool:
    """Whether faiss is installed; says once what installs it."""
    there = find_spec("faiss") is not None
    if not there:
        log.info(
            "shortlists of %d items and more are found faster with faiss: "
            "pip install 'itr-deploy[faiss]'",
            FROM,
        )
    return there


@dataclass(frozen=True, eq=False)
class _Turn:
    """A random rotation, after which the signs of all dimensions say about as much.

    Along a vector's own dimensions a few large ones would leave the others' bits to say little.
    """

    transform: Any
    axes: Vectors

    @classmethod
    @lru_cache(maxsize=8)
    def of(cls, width: int) -> _Turn:
        """The same for all vectors of a width."""
        import faiss

        transform = faiss.RandomRotationMatrix(width, width)
        transform.init(0)
        return cls(transform, faiss.vector_to_array(transform.A).reshape(width, width))

    def many(self, vectors: Vectors) -> Vectors:
        """``[N, E]``, turned by faiss's own BLAS, which keeps to the threads that it is given."""
        turned: Vectors = self.transform.apply(np.ascontiguousarray(vectors))
        return turned

    def one(self, query: Vectors) -> Vectors:
        """``[E]``, turned without BLAS, whose threads would go on spinning."""
        return of_one(query, self.axes)


class _UnwantedError(Exception):
    """Nobody has the codes any more that are being made."""


def _encoded(
    parts: tuple[_Part, ...], vectors: Vectors, threads: int, pause: Pause
) -> tuple[_Part, ...]:
    """Parts of all the vectors.

    What is added is joined with the last parts that are not much larger, so that there are few and
    each vector is encoded again a few times at most.
    """
    kept, count = list(parts), len(vectors)
    start = kept[-1].stop if kept else 0
    if count <= start:
        return parts
    while kept and kept[-1].rows <= 2 * (count - start):
        start = kept.pop().start
    pieces = max(1, min(threads, (count - start) // _PART))
    bounds = np.linspace(start, count, pieces + 1).astype(int).tolist()
    made = [_part(vectors, first, last, threads, pause) for first, last in pairwise(bounds)]
    return (*kept, *made)


def _part(vectors: Vectors, start: int, stop: int, threads: int, pause: Pause) -> _Part:
    import faiss

    # Of this thread alone.
    faiss.omp_set_num_threads(threads)
    turn, width = _Turn.of(vectors.shape[1]), vectors.shape[1]
    index = faiss.IndexRaBitQFastScan(width, faiss.METRIC_INNER_PRODUCT)
    index.train(turn.many(vectors[start : stop : max(1, (stop - start) // _TRAINED)]))
    for place in range(start, stop, _STEP):
        began = time.perf_counter()
        index.add(turn.many(vectors[place : min(place + _STEP, stop)]))
        pause(time.perf_counter() - began)
    return _Part(start, stop, index)
