"""More requests than a server can answer: what it takes on is right, the rest is told to wait."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest

from benchmarks.load import closed, open_ended, request
from itr_deploy.serving.bodies import TOGETHER
from tests.serving.conftest import Served
from tests.support.items import WIDTH, captions
from tests.support.retrieval import QUERIES
from tests.support.servers import Running, holding, running_server, until

ROOM = 4
"""Requests that may wait."""

BODY = 100_000
"""Bytes of a body."""

CALLS = "itr_batch_queries_count"
SEARCHED = "itr_batch_queries_sum"


@pytest.fixture(scope="module")
def hold(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """While this file is there, nothing is computed."""
    return tmp_path_factory.mktemp("hold") / "hold"


@pytest.fixture(scope="module")
def narrow(
    served: Served, hold: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    """A server in which few may wait."""
    log = tmp_path_factory.mktemp("narrow") / "log"
    options = "--max-queue", ROOM, "--max-batch", 2, "--max-body", BODY, "--quiet"
    with running_server(
        served.bundle, served.gallery, log, *options, fault=holding(hold)
    ) as running:
        yield running
        assert running.end() == 0, running.said
        assert "Traceback" not in running.said


@contextmanager
def computing_one(running: Running, hold: Path) -> Iterator[tuple[ThreadPoolExecutor, Future[Any]]]:
    """While one request is being computed, and goes on being so until the file is gone."""
    calls = running.figure(CALLS)
    hold.touch()
    with ThreadPoolExecutor(ROOM + 1) as pool:
        try:
            first = pool.submit(ask, running, QUERIES[0])
            until(lambda: running.figure(CALLS) == calls + 1)
            yield pool, first
        finally:
            hold.unlink(missing_ok=True)


def ask(running: Running, query: str) -> httpx2.Response:
    with running.client() as client:
        return client.post("/v1/search", json={"query": query})


def test_a_full_queue_is_told_with_when_to_come_back(narrow: Running, hold: Path):
    with computing_one(narrow, hold) as (pool, first):
        waiting = [pool.submit(ask, narrow, query) for query in QUERIES[:ROOM]]
        until(lambda: narrow.figure("itr_queue_depth") == ROOM)
        refused = ask(narrow, QUERIES[0])
        ready = httpx2.get(f"{narrow.url}/livez")
        hold.unlink()
        answered = [one.result() for one in (first, *waiting)]
    assert refused.status_code == 429
    assert refused.json()["error"]["code"] == "queue_full"
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert ready.status_code == 200
    assert [answer.status_code for answer in answered] == [200] * (ROOM + 1)


def test_large_bodies_have_a_bound_together_and_small_ones_none_but_the_queue(
    narrow: Running, hold: Path
):
    regions = np.random.default_rng(0).uniform(-1, 1, (1, BODY // 21 // WIDTH, WIDTH)).tolist()
    body = json.dumps({"texts": QUERIES[:1], "regions": regions})
    assert 0.6 * BODY < len(body) < BODY

    def score() -> httpx2.Response:
        headers = {"Content-Type": "application/json"}
        with narrow.client() as client:
            return client.post("/v1/score", content=body, headers=headers)

    fitting = TOGETHER * BODY // len(body)
    assert fitting <= ROOM + 1
    hold.touch()
    with ThreadPoolExecutor(fitting) as pool:
        try:
            waiting = [pool.submit(score) for _ in range(fitting)]
            until(lambda: narrow.figure("itr_queue_depth") == fitting - 1)
            refused = score()
        finally:
            hold.unlink()
        answered = [one.result() for one in waiting]
    assert refused.status_code == 429
    assert refused.json()["error"]["code"] == "bodies_full"
    assert int(refused.headers["Retry-After"]) >= 1
    # What was counted is given back.
    assert len({answer.status_code for answer in answered}) == 1
    assert score().status_code == answered[0].status_code != 429
    assert ask(narrow, QUERIES[0]).status_code == 200


def test_what_a_client_asked_that_has_left_is_not_computed(narrow: Running, hold: Path):
    left = 'itr_rejected_total{reason="client_left"}'
    before, searched = narrow.figure(left), narrow.figure(SEARCHED)
    with computing_one(narrow, hold) as (_, first):
        for number, query in enumerate(QUERIES[:3], 1):
            with socket.create_connection(narrow.place, 30) as connection:
                body = json.dumps({"query": query}).encode()
                connection.sendall(request(narrow.url, "/v1/search", body))
                until(lambda n=number: narrow.figure("itr_queue_depth") == n)
            until(lambda n=number: narrow.figure(left) == before + n)
        hold.unlink()
        assert first.result().status_code == 200
    assert ask(narrow, QUERIES[0]).status_code == 200
    assert narrow.figure(left) == before + 3
    assert narrow.figure(SEARCHED) == searched + 2


@pytest.mark.slow
def test_twice_what_it_can_answer_is_answered_rightly_or_refused_cleanly(
    narrow: Running, served: Served
):
    queries = captions(32, seed=3)
    expected = [hits.ids for hits in served.retriever().search(queries)]
    asked = [request(narrow.url, "/v1/search", json.dumps({"query": q}).encode()) for q in queries]
    capacity = closed(narrow.url, asked, clients=4, seconds=1.0).rate
    memory = narrow.memory
    load = open_ended(narrow.url, asked, 2 * capacity, seconds=3.0)
    assert set(load.statuses) <= {200, 429, 503, 504}, load.statuses
    assert all(answer.retry_after for answer in load.answers if answer.status in (429, 503))
    right = [
        hits_of(answer.body) == expected[answer.number]
        for answer in load.answers
        if answer.status == 200
    ]
    assert right
    assert all(right)
    assert narrow.memory < memory + 50e6
    assert ask(narrow, queries[0]).status_code == 200


def hits_of(body: bytes) -> Sequence[str]:
    return tuple(hit["id"] for hit in json.loads(body)["hits"])
