"""Calls on several threads: each runs once, in order, never more at a time than allowed."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from itr_deploy.runtime.backends.base import Arrays, Call
from itr_deploy.runtime.backends.ordered_pool import OrderedPool, Outputs

WORKERS = pytest.mark.parametrize("workers", [1, 2, 3])


class Computing:
    """Counts the calls that run at a time, and the threads that they run on."""

    def __init__(self, seconds: float = 0.002) -> None:
        self.seconds, self.most, self.threads = seconds, 0, set[int]()
        self._now, self._lock = 0, threading.Lock()

    def run(self, graph: str, inputs: Arrays) -> Outputs:
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
            self.threads.add(threading.get_ident())
        time.sleep(self.seconds)
        with self._lock:
            self._now -= 1
        return {graph: np.asarray(inputs["number"])}


def calls(count: int) -> Iterator[Call]:
    for number in range(count):
        yield "graph", {"number": np.array(number, np.float32)}


def numbers(ordered: OrderedPool, computing: Computing, count: int) -> list[int]:
    return [int(outputs["graph"]) for outputs in ordered.run_all(computing.run, calls(count))]


@WORKERS
@pytest.mark.parametrize("count", [0, 1, 2, 30])
def test_results_come_in_the_order_of_the_calls(workers: int, count: int) -> None:
    computing = Computing()
    assert numbers(OrderedPool(workers), computing, count) == list(range(count))
    assert computing.most <= workers


@WORKERS
def test_the_thread_that_waits_computes_too(workers: int) -> None:
    computing = Computing()
    numbers(OrderedPool(workers), computing, 30)
    assert threading.get_ident() in computing.threads
    assert len(computing.threads) == computing.most == workers


def test_many_threads_together_run_no_more_calls_at_a_time() -> None:
    ordered, computing = OrderedPool(2), Computing()
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: numbers(ordered, computing, 20), range(8)))
    assert found == [list(range(20))] * 8
    assert computing.most == 2


def test_an_error_of_a_call_reaches_who_asked_and_the_next_calls_run() -> None:
    ordered = OrderedPool(2)

    def fails(graph: str, inputs: Arrays) -> Outputs:
        if int(inputs["number"]) == 3:
            raise ValueError("the fourth")
        return {}

    for _ in range(3):
        with pytest.raises(ValueError, match="the fourth"):
            list(ordered.run_all(fails, calls(30)))
    assert numbers(ordered, Computing(), 9) == list(range(9))


def test_results_that_nobody_takes_stop_the_calls() -> None:
    ordered, computing = OrderedPool(2), Computing(0.01)
    results = ordered.run_all(computing.run, calls(1000))
    next(results)
    results.close()
    assert numbers(ordered, computing, 4) == list(range(4))
