"""The queue before the one thread that computes, and that thread.

One thread uses all cores for one call at a time: calls side by side only wait for each other
(docs/performance.md). What waits is bounded, and alike requests are computed in one call.
"""

from __future__ import annotations

import logging
import math
import threading
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from itr_deploy.serving.refusals import RefusalError, dead, deadline_passed, queue_full

log = logging.getLogger(__name__)

Compute = Callable[[Sequence[Any]], Sequence[Any]]
"""Computes several requests of one kind: their payloads in, an answer each out."""


@dataclass(eq=False)
class Job:
    """A request that waits.

    Attributes:
        compute: Computes it, with others of an equal key.
        payload: What to compute.
        kind: Requests of an equal kind may be computed together; None for alone.
        size: How many queries it has.
        timeout: Seconds until it is given up.
        entered: When it began to wait, by the monotonic clock.
        begun: When it was taken up.
        answer: Becomes what was computed.
    """

    compute: Compute
    payload: Any
    kind: Hashable | None
    size: int
    timeout: float
    entered: float = field(default_factory=monotonic)
    begun: float = 0.0
    answer: Future[Any] = field(default_factory=Future)

    @property
    def waited(self) -> float:
        """Seconds in the queue."""
        return self.begun - self.entered

    @property
    def is_late(self) -> bool:
        """Whether its time has passed."""
        return monotonic() > self.entered + self.timeout


class ComputeQueue:
    """A bounded queue and the thread that works it off. Safe to use from several threads."""

    def __init__(
        self,
        max_queue: int,
        max_batch: int,
        max_wait: float,
        on_death: Callable[[BaseException], None] = lambda error: None,
        on_batch: Callable[[Sequence[Job]], None] = lambda jobs: None,
    ) -> None:
        """Set it up; `start` starts the thread.

        Args:
            max_queue: Requests that may wait.
            max_batch: Queries of one call.
            max_wait: Seconds that a call waits for requests that are on their way.
            on_death: Called in the thread if it ends otherwise than by `close`.
            on_batch: Called in the thread with every call's requests, before they are computed.
        """
        self._max_queue, self._max_batch, self._max_wait = max_queue, max_batch, max_wait
        self._on_death, self._on_batch = on_death, on_batch
        self._jobs: deque[Job] = deque()
        self._changed = threading.Condition()
        self._arriving = 0
        self._closed = False
        self._dead = False
        self._seconds_a_query = 0.05
        self._thread = threading.Thread(target=self._run, name="compute", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    @property
    def depth(self) -> int:
        """How many requests wait."""
        return len(self._jobs)

    @property
    def is_dead(self) -> bool:
        """Whether the thread ended by an error."""
        return self._dead

    @contextmanager
    def arriving(self) -> Iterator[Callable[[], None]]:
        """Announce a request that is being read, for which a call may wait a moment.

        Yields:
            What to call once it waits in the queue.
        """
        there = False

        def arrived() -> None:
            nonlocal there
            if not there:
                there = True
                with self._changed:
                    self._arriving -= 1
                    self._changed.notify_all()

        with self._changed:
            self._arriving += 1
        try:
            yield arrived
        finally:
            arrived()

    def put(self, job: Job, *, first: bool = False) -> Future[Any]:
        """Let a request wait.

        Args:
            job: The request.
            first: Before all others, and whether or not there is room; for a probe.

        Returns:
            What becomes its answer; cancelling it takes the request out of the queue.

        Raises:
            RefusalError: There is no room, or the thread has ended.
        """
        with self._changed:
            if self._dead or self._closed:
                raise dead()
            if not first and len(self._jobs) >= self._max_queue:
                self._drop_given_up()
            if not first and len(self._jobs) >= self._max_queue:
                raise queue_full(len(self._jobs), self._seconds_to_room())
            (self._jobs.appendleft if first else self._jobs.append)(job)
            self._changed.notify_all()
        return job.answer

    def close(self, timeout: float | None = None) -> None:
        """End the thread after what waits; a request that comes later is refused."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(timeout)

    def _seconds_to_room(self) -> int:
        """Seconds until about half of what waits is worked off."""
        waiting = sum(job.size for job in self._jobs)
        return min(60, max(1, math.ceil(waiting * self._seconds_a_query / 2)))

    def _drop_given_up(self) -> None:
        kept = [job for job in self._jobs if not job.answer.cancelled()]
        self._jobs.clear()
        self._jobs.extend(kept)

    def _run(self) -> None:
        batch: list[Job] = []
        try:
            while batch := self._next():
                self._on_batch(batch)
                begun = monotonic()
                self._compute(batch)
                taken = (monotonic() - begun) / sum(job.size for job in batch)
                self._seconds_a_query += 0.1 * (taken - self._seconds_a_query)
        except BaseException as error:
            self._die(error, batch)

    def _next(self) -> list[Job]:
        """The requests of the next call; none once the queue is closed and empty."""
        with self._changed:
            while True:
                while not self._jobs:
                    if self._closed:
                        return []
                    self._changed.wait()
                first = self._jobs.popleft()
                if not self._taken_up(first):
                    continue
                batch = [first]
                if first.kind is not None:
                    self._fill(batch)
                return batch

    def _fill(self, batch: list[Job]) -> None:
        """Take up what may be computed with the first request."""
        until = monotonic() + self._max_wait
        while True:
            room = self._max_batch - sum(job.size for job in batch)
            others: list[Job] = []
            while self._jobs and room > 0:
                job = self._jobs.popleft()
                if job.kind != batch[0].kind or job.size > room:
                    others.append(job)
                elif self._taken_up(job):
                    batch.append(job)
                    room -= job.size
            self._jobs.extendleft(reversed(others))
            left = until - monotonic()
            if room <= 0 or left <= 0 or not self._arriving or self._closed:
                return
            self._changed.wait(left)

    def _taken_up(self, job: Job) -> bool:
        """Whether a request is to be computed: nobody has given it up, and it is not late."""
        if not job.answer.set_running_or_notify_cancel():
            return False
        if job.is_late:
            job.answer.set_exception(deadline_passed(job.timeout))
            return False
        job.begun = monotonic()
        return True

    def _compute(self, batch: Sequence[Job]) -> None:
        try:
            answers = batch[0].compute([job.payload for job in batch])
        except Exception as error:
            if len(batch) > 1:
                # One of them is at fault; the others are not to know.
                for job in batch:
                    self._compute([job])
                return
            if not isinstance(error, RefusalError):
                log.debug("a request failed", exc_info=True)
            batch[0].answer.set_exception(error)
            return
        for job, answer in zip(batch, answers, strict=True):
            job.answer.set_result(answer)

    def _die(self, error: BaseException, batch: Sequence[Job]) -> None:
        """Fail everything that waits, and say so."""
        with self._changed:
            self._dead = True
            waiting = [*batch, *self._jobs]
            self._jobs.clear()
        for job in waiting:
            if not job.answer.done() and (
                job.answer.running() or job.answer.set_running_or_notify_cancel()
            ):
                job.answer.set_exception(dead())
        self._on_death(error)
