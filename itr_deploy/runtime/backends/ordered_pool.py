"""Runs a backend's calls on several threads, with the results in order."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from itr_deploy.runtime.backends.base import Arrays, Call

Outputs = dict[str, NDArray[np.float32]]
Run = Callable[[str, Arrays], Outputs]


class OrderedPool:
    """Threads that run a few calls ahead of the results; started when first needed.

    The thread that waits for the results runs calls too, since it is awake already. A thread that
    has to be woken may be put on a core that is taken, and then waits for milliseconds: as long as
    a narrow shortlist takes (docs/performance.md).
    """

    def __init__(self, workers: int) -> None:
        """Let ``workers`` calls run at a time, however many threads ask for them."""
        self._workers = workers
        self._slots = threading.Semaphore(workers)
        self._threads: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()

    def run_all(self, run: Run, calls: Iterable[Call]) -> Iterator[Outputs]:
        """Run many calls, a few ahead of the results, which come in the order of the calls.

        Args:
            run: Makes one call.
            calls: Graphs and their inputs.
        """
        if self._workers == 1:
            for graph, inputs in calls:
                yield run(graph, inputs)
            return
        with self._lock:
            if self._threads is None:
                self._threads = ThreadPoolExecutor(self._workers - 1, "itr-deploy")
        pending: deque[_PendingCall] = deque()
        try:
            for call in calls:
                pending.append(_PendingCall(self._threads.submit(self._in_turn, run, call), call))
                if len(pending) > 2 * self._workers:
                    yield self._first(pending, run)
            while pending:
                yield self._first(pending, run)
        finally:
            for waiting in pending:
                waiting.future.cancel()

    def _in_turn(self, run: Run, call: Call) -> Outputs:
        with self._slots:
            return run(*call)

    def _first(self, pending: deque[_PendingCall], run: Run) -> Outputs:
        """The first call's outputs; meanwhile this thread runs calls that no other has begun."""
        while not pending[0].future.done() and self._slots.acquire(blocking=False):
            try:
                waiting = next((call for call in pending if call.take()), None)
                if waiting is None:
                    break
                waiting.outputs = run(*waiting.call)
            finally:
                self._slots.release()
        first = pending.popleft()
        return first.future.result() if first.outputs is None else first.outputs

    def close(self) -> None:
        """Wait for running calls and end the threads."""
        with self._lock:
            if self._threads is not None:
                self._threads.shutdown(cancel_futures=True)
                self._threads = None


class _PendingCall:
    """A call that a thread of the pool will run, unless the waiting thread takes it.

    Attributes:
        outputs: The outputs if the waiting thread ran the call; None while it is the pool's.
    """

    def __init__(self, future: Future[Outputs], call: Call) -> None:
        self.future, self.call = future, call
        self.outputs: Outputs | None = None

    def take(self) -> bool:
        """Take the call from the pool if no thread has begun it; true only once."""
        return not self.future.cancelled() and self.future.cancel()
