"""How a server's process ends: as it is told, or because it cannot go on; never half."""

from __future__ import annotations

import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest

from itr_deploy import Gallery
from tests.serving.conftest import Served
from tests.support.items import captions
from tests.support.retrieval import COUNT, QUERIES
from tests.support.servers import WITH_A_FAULT, Running, holding, running_server, until

WAITING = 6


def ask(running: Running, query: str = QUERIES[0]) -> httpx2.Response:
    with running.client() as client:
        return client.post("/v1/search", json={"query": query})


def test_without_its_computing_thread_it_refuses_who_waits_and_ends(served: Served, tmp_path: Path):
    hold = tmp_path / "hold"
    with (
        running_server(
            served.bundle,
            served.gallery,
            tmp_path / "log",
            *("--max-batch", 1),
            fault=WITH_A_FAULT + holding(hold),
        ) as running,
        ThreadPoolExecutor(WAITING) as pool,
    ):
        hold.touch()
        asked = [pool.submit(ask, running) for _ in range(WAITING)]
        until(lambda: running.figure("itr_queue_depth") == WAITING - 1)
        running.signal(signal.SIGUSR1)
        answers = [one.result() for one in asked]
        assert running.wait() == 4
    assert [answer.status_code for answer in answers] == [503] * WAITING
    assert {answer.json()["error"]["code"] for answer in answers} == {"dead"}
    assert all(int(answer.headers["Retry-After"]) >= 1 for answer in answers)
    assert "computing thread" in running.said


@pytest.mark.slow
def test_told_to_end_under_load_it_drops_no_request(served: Served, tmp_path: Path):
    with (
        running_server(
            served.bundle, served.gallery, tmp_path / "log", "--drain-delay", 2
        ) as running,
        ThreadPoolExecutor(4) as pool,
    ):
        told = threading.Event()

        def ask_until_told(first: int) -> list[int]:
            """Every request on a connection of its own, some after it has said that it will end."""
            queries, found = captions(10_000, seed=first), []
            while not told.is_set():
                found.append(ask(running, queries[len(found)]).status_code)
            return [*found, ask(running).status_code]

        clients = [pool.submit(ask_until_told, number) for number in range(4)]
        until(lambda: running.figure("itr_batch_queries_count") > 5)
        running.signal(signal.SIGTERM)
        with running.client() as client:
            until(lambda: client.get("/readyz").status_code == 503)
            assert client.get("/readyz").json()["error"]["code"] == "draining"
            told.set()
        statuses = [status for client in clients for status in client.result()]
        assert running.wait() == 0, running.said
    assert set(statuses) == {200}
    assert "Traceback" not in running.said


def test_what_it_computes_when_it_is_told_to_end_is_answered(served: Served, tmp_path: Path):
    hold = tmp_path / "hold"
    with (
        running_server(
            served.bundle,
            served.gallery,
            tmp_path / "log",
            *("--drain-delay", 0, "--max-batch", 1),
            fault=holding(hold),
        ) as running,
        ThreadPoolExecutor(WAITING) as pool,
    ):
        hold.touch()
        asked = [pool.submit(ask, running) for _ in range(WAITING)]
        until(lambda: running.figure("itr_queue_depth") == WAITING - 1)
        running.signal(signal.SIGTERM)
        until(lambda: not is_listening(running))
        hold.unlink()
        assert [one.result().status_code for one in asked] == [200] * WAITING
        assert running.wait() == 0, running.said


@pytest.mark.slow
def test_killed_it_leaves_the_gallery_whole_and_starts_again(served: Served, tmp_path: Path):
    with (
        running_server(served.bundle, served.gallery, tmp_path / "log") as running,
        ThreadPoolExecutor(4) as pool,
    ):
        place = running.place
        before = ask(running).json()["hits"]
        asked = [pool.submit(ask, running, query) for query in captions(8)]
        running.signal(signal.SIGKILL)
        assert running.wait() == -signal.SIGKILL
        for one in asked:
            one.exception()
    assert Gallery.open(served.gallery).count() == COUNT
    with running_server(
        served.bundle, served.gallery, tmp_path / "again", port=place[1]
    ) as running:
        assert ask(running).json()["hits"] == before
        assert running.end() == 0


def is_listening(running: Running) -> bool:
    try:
        httpx2.get(f"{running.url}/livez")
    except httpx2.HTTPError:
        return False
    return True
