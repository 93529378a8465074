"""A gallery that changes while it is searched: every answer is of one version, and right."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import itr_deploy
from itr_deploy import Gallery, Matcher, Retriever
from tests.serving.conftest import Served
from tests.support.asked import asked
from tests.support.items import images, names
from tests.support.retrieval import QUERIES
from tests.support.servers import Running, running_server, until

COUNT, K, CLIENTS = 60, 10, 3

GROWN = 60 << 20
"""Bytes that a server may take on over hundreds of changes: none are kept."""


@dataclass
class Clients:
    """Clients that ask without a pause.

    Attributes:
        answers: Bodies, with the number of the query.
        ask: Stops them and returns the answers.
    """

    running: Running
    stopped: threading.Event
    asking: list[Future[list[tuple[int, dict[str, Any]]]]]

    def stop(self) -> list[tuple[int, dict[str, Any]]]:
        """All answers: the query's number, and what was answered."""
        self.stopped.set()
        return [one for some in self.asking for one in some.result()]


@contextmanager
def clients_of(running: Running) -> Iterator[Clients]:
    stopped = threading.Event()

    def ask() -> list[tuple[int, dict[str, Any]]]:
        found = []
        with running.client() as client:
            while not stopped.is_set():
                number = len(found) % len(QUERIES)
                # Every item is scored, so that what is right is known.
                body = {"query": QUERIES[number], "k": K, "candidates": None}
                answer = client.post("/v1/search", json=body)
                assert answer.status_code == 200, answer.text
                found.append((number, answer.json()))
        return found

    with ThreadPoolExecutor(CLIENTS) as pool:
        try:
            yield Clients(running, stopped, [pool.submit(ask) for _ in range(CLIENTS)])
        finally:
            stopped.set()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    np.save(folder / "test_ims.npy", images(COUNT))
    (folder / "test_caps.txt").write_text("a red circle\n" * COUNT)
    return folder


def replaced(bundle: Path, data: Path, gallery: Path, version: int) -> list[str]:
    """Index the same images again, with ids in an order that is the version's own."""
    ids = list(np.roll(names(COUNT), version))
    (data / "test_ids.txt").write_text("".join(f"{name}\n" for name in ids))
    itr_deploy.index(bundle, data=data, output=gallery, force=True)
    return ids


def seen(running: Running, version: Callable[[dict[str, Any]], bool]) -> None:
    """Wait until an answer is of a version."""

    def asked() -> bool:
        with running.client() as client:
            body = {"query": QUERIES[0], "k": K, "candidates": None}
            return version(client.post("/v1/search", json=body).json())

    until(asked, 60)


@pytest.mark.parametrize(
    "times",
    [pytest.param(4, marks=pytest.mark.slow), pytest.param(50, marks=pytest.mark.full)],
)
def test_replaced_under_load(
    bundle: Path, matcher: Matcher, data: Path, tmp_path: Path, times: int
):
    gallery = tmp_path / "gallery"
    versions = [replaced(bundle, data, gallery, 0)]
    scores = matcher.score(texts=QUERIES, images=images(COUNT)).T
    order = [list(np.argsort(-row, kind="stable")[:K]) for row in scores]
    options = "--refresh", 0.1, "--quiet"
    with (
        running_server(bundle, gallery, tmp_path / "log", *options) as running,
        clients_of(running) as clients,
    ):
        memory = 0
        for version in range(1, times + 1):
            ids = replaced(bundle, data, gallery, version)
            versions.append(ids)
            expected = [ids[place] for place in order[0]]
            seen(running, lambda told, e=expected: [hit["id"] for hit in told["hits"]] == e)
            memory = memory or running.memory
        grown = running.memory - memory
        answers = clients.stop()
        assert running.end() == 0, running.said
    right = [{tuple(ids[place] for place in places) for ids in versions} for places in order]
    assert len(answers) > times
    for number, told in answers:
        assert tuple(hit["id"] for hit in told["hits"]) in right[number]
        found = [hit["score"] for hit in told["hits"]]
        np.testing.assert_allclose(found, scores[number][order[number]], atol=1e-2)
    assert grown < GROWN
    assert "Traceback" not in running.said


@pytest.mark.parametrize(
    "times",
    [pytest.param(25, marks=pytest.mark.slow), pytest.param(1000, marks=pytest.mark.full)],
)
def test_appended_to_under_load(bundle: Path, matcher: Matcher, tmp_path: Path, times: int):
    everything, ids = images(COUNT + times), names(COUNT + times)
    gallery = Gallery.create(tmp_path / "gallery", matcher)
    gallery.add(ids[:COUNT], everything[:COUNT])
    options = "--refresh", 0.1, "--quiet"
    with (
        running_server(bundle, tmp_path / "gallery", tmp_path / "log", *options) as running,
        clients_of(running) as clients,
    ):
        memory = 0
        for count in range(COUNT, COUNT + times):
            gallery.add(ids[count : count + 1], everything[count : count + 1])
            memory = memory or running.memory
        seen(running, lambda told: told["gallery"]["count"] == COUNT + times)
        grown = running.memory - memory
        answers = clients.stop()
        assert running.end() == 0, running.said
    scores = matcher.score(texts=QUERIES, images=everything).T
    counts = [told["gallery"]["count"] for _, told in answers]
    assert len(set(counts)) > 2
    for (number, told), count in zip(answers, counts, strict=True):
        best = np.argsort(-scores[number][:count], kind="stable")[:K]
        assert [hit["id"] for hit in told["hits"]] == [ids[place] for place in best]
    assert grown < GROWN
    assert "Traceback" not in running.said


def test_a_gallery_that_is_gone_is_no_fault_of_the_request(served: Served, tmp_path: Path):
    gallery, away = tmp_path / "gallery", tmp_path / "away"
    shutil.copytree(served.gallery, gallery)
    query = {"query": QUERIES[0], "k": K}
    with asked(Retriever.load(served.bundle, gallery)) as client:
        before = client.post("/v1/search", json=query).json()["hits"]
        gallery.rename(away)
        explained = {"query": QUERIES[0], "id": names(1)[0]}
        for answer in (
            client.get(f"/v1/items/{names(1)[0]}"),
            client.post("/v1/explain", json=explained),
            client.post("/v1/rerank", json={"query": QUERIES[0], "documents": names(2)}),
            client.post("/v1/search", json={**query, "where": "year > 3"}),
        ):
            told = answer.json()["error"]
            assert (answer.status_code, told["code"]) == (503, "gallery"), answer.text
            assert told["message"] == "the gallery cannot be read now"
            assert "refresh()" not in answer.text
            assert answer.headers["Retry-After"] == "5"
        assert client.post("/v1/search", json=query).json()["hits"] == before
        wrong = client.post("/v1/search", json={**query, "where": "nosuch > 3"})
        assert (wrong.status_code, wrong.json()["error"]["code"]) == (422, "invalid_request")
        away.rename(gallery)
        assert client.post("/v1/explain", json=explained).status_code == 200
