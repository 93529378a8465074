"""Calls of a backend on several threads, their results in order."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from itr_deploy.runtime.backends.base import Arrays, Call

Outputs = dict[str, NDArray[np.float32]]


class RunAhead:
    """Threads that run a few calls ahead of the results; started when they are first needed."""

    def __init__(self, workers: int) -> None:
        """Take the number of calls that run at a time; one runs on the caller's thread."""
        self._workers = workers
        self._threads: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()

    def run_all(
        self, run: Callable[[str, Arrays], Outputs], calls: Iterable[Call]
    ) -> Iterator[Outputs]:
        """See `Backend.run_all`; ``run`` makes one call."""
        if self._workers == 1:
            for graph, inputs in calls:
                yield run(graph, inputs)
            return
        with self._lock:
            if self._threads is None:
                self._threads = ThreadPoolExecutor(self._workers, "itr-deploy")
        running: deque[Future[Outputs]] = deque()
        try:
            for graph, inputs in calls:
                running.append(self._threads.submit(run, graph, inputs))
                if len(running) > 2 * self._workers:
                    yield running.popleft().result()
            while running:
                yield running.popleft().result()
        finally:
            for future in running:
                future.cancel()

    def close(self) -> None:
        """Wait for the calls that are running, and end the threads."""
        with self._lock:
            if self._threads is not None:
                self._threads.shutdown(cancel_futures=True)
                self._threads = None
