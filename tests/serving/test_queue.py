from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from time import monotonic
from typing import Any

import pytest

from itr_deploy.serving.queue import ComputeQueue, Job
from itr_deploy.serving.refusals import RefusalError

SOON = 30.0


class Computing:
    """Computes when it is let; keeps what was computed in one call."""

    def __init__(self) -> None:
        self.calls: list[list[Any]] = []
        self.begun, self.let = threading.Event(), threading.Event()

    def __call__(self, payloads: Sequence[Any]) -> list[Any]:
        self.begun.set()
        assert self.let.wait(SOON)
        self.calls.append(list(payloads))
        if any(payload == "bad" for payload in payloads):
            raise ValueError("bad")
        if any(payload == "fatal" for payload in payloads):
            raise SystemExit
        return [f"{payload}!" for payload in payloads]


@pytest.fixture
def computing() -> Computing:
    return Computing()


@pytest.fixture
def queue() -> Iterator[ComputeQueue]:
    made = ComputeQueue(max_queue=4, max_batch=3, max_wait=0.0)
    made.start()
    yield made
    made.close(SOON)


def job(computing: Computing, payload: Any, kind: Any = "same", **how: Any) -> Job:
    return Job(computing, payload, kind, how.pop("size", 1), how.pop("timeout", SOON))


def occupied(queue: ComputeQueue, computing: Computing) -> Job:
    """A request that is being computed, behind which others wait."""
    first = job(computing, "first", kind=None)
    queue.put(first)
    assert computing.begun.wait(SOON)
    return first


def test_alike_requests_are_computed_in_one_call(queue: ComputeQueue, computing: Computing) -> None:
    occupied(queue, computing)
    waiting = [queue.put(job(computing, name)) for name in ("a", "b", "c", "d")]
    computing.let.set()
    assert [one.result(SOON) for one in waiting] == ["a!", "b!", "c!", "d!"]
    assert computing.calls == [["first"], ["a", "b", "c"], ["d"]]


def test_others_keep_their_order(queue: ComputeQueue, computing: Computing) -> None:
    occupied(queue, computing)
    kinds = {"a": 1, "b": 2, "c": 1, "d": 2}
    waiting = [queue.put(job(computing, name, kind)) for name, kind in kinds.items()]
    computing.let.set()
    assert [one.result(SOON) for one in waiting] == ["a!", "b!", "c!", "d!"]
    assert computing.calls == [["first"], ["a", "c"], ["b", "d"]]


def test_a_call_has_no_more_queries_than_it_may(queue: ComputeQueue, computing: Computing) -> None:
    occupied(queue, computing)
    waiting = [queue.put(job(computing, name, size=2)) for name in ("a", "b")]
    waiting.append(queue.put(job(computing, "c")))
    computing.let.set()
    assert [one.result(SOON) for one in waiting] == ["a!", "b!", "c!"]
    assert computing.calls == [["first"], ["a", "c"], ["b"]]


def test_a_request_too_large_for_a_call_is_computed_alone(
    queue: ComputeQueue, computing: Computing
) -> None:
    computing.let.set()
    assert queue.put(job(computing, "a", size=100)).result(SOON) == "a!"


def test_a_full_queue_refuses_and_says_when_to_try_again(
    queue: ComputeQueue, computing: Computing
) -> None:
    occupied(queue, computing)
    waiting = [queue.put(job(computing, name)) for name in "abcd"]
    with pytest.raises(RefusalError, match="4 requests are waiting") as refused:
        queue.put(job(computing, "e"))
    assert refused.value.status == 429
    assert refused.value.retry_after == 1
    assert queue.put(job(computing, "probe", kind=None), first=True) is not None
    computing.let.set()
    assert [one.result(SOON) for one in waiting] == ["a!", "b!", "c!", "d!"]
    assert computing.calls[1] == ["probe"]


def test_who_has_left_makes_room(queue: ComputeQueue, computing: Computing) -> None:
    occupied(queue, computing)
    waiting = [queue.put(job(computing, name)) for name in "abcd"]
    assert waiting[1].cancel()
    last = queue.put(job(computing, "e"))
    computing.let.set()
    assert last.result(SOON) == "e!"
    assert computing.calls == [["first"], ["a", "c", "d"], ["e"]]


def test_a_late_request_is_not_computed(queue: ComputeQueue, computing: Computing) -> None:
    occupied(queue, computing)
    late = job(computing, "late", timeout=0.0)
    late.entered -= 1
    waiting, other = queue.put(late), queue.put(job(computing, "a"))
    computing.let.set()
    assert other.result(SOON) == "a!"
    with pytest.raises(RefusalError, match="not answered within"):
        waiting.result(SOON)
    assert computing.calls == [["first"], ["a"]]


def test_one_at_fault_does_not_take_others_with_it(
    queue: ComputeQueue, computing: Computing
) -> None:
    occupied(queue, computing)
    waiting = [queue.put(job(computing, name)) for name in ("a", "bad", "b")]
    computing.let.set()
    assert waiting[0].result(SOON) == "a!"
    assert waiting[2].result(SOON) == "b!"
    with pytest.raises(ValueError, match="bad"):
        waiting[1].result(SOON)


def test_when_the_thread_ends_nobody_waits_for_ever(computing: Computing) -> None:
    died: list[BaseException] = []
    queue = ComputeQueue(4, 1, 0.0, on_death=died.append)
    queue.start()
    occupied(queue, computing)
    waiting = [queue.put(job(computing, name)) for name in ("fatal", "a")]
    computing.let.set()
    for one in waiting:
        with pytest.raises(RefusalError, match="has ended") as refused:
            one.result(SOON)
        assert refused.value.status == 503
    assert queue.is_dead
    assert isinstance(died[0], SystemExit)
    with pytest.raises(RefusalError, match="has ended"):
        queue.put(job(computing, "b"))


def test_a_call_waits_for_what_is_on_its_way(computing: Computing) -> None:
    computing.let.set()
    queue = ComputeQueue(4, 2, max_wait=SOON)
    queue.start()
    with queue.arriving() as arrived, queue.arriving():
        first = queue.put(job(computing, "a"))
        arrived()
        assert not first.done()
        assert queue.put(job(computing, "b")).result(SOON) == "b!"
    assert computing.calls == [["a", "b"]]
    queue.close(SOON)


def test_a_call_does_not_wait_where_nothing_comes(computing: Computing) -> None:
    computing.let.set()
    queue = ComputeQueue(4, 2, max_wait=3600.0)
    queue.start()
    begun = monotonic()
    with queue.arriving() as arrived:
        first = queue.put(job(computing, "a"))
        arrived()
        assert first.result(SOON) == "a!"
    assert monotonic() - begun < SOON
    queue.close(SOON)
