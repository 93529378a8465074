"""A service in front of shards: equal answers, and what it says of shards that are lost."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import psutil
import pytest

import itr_deploy
from itr_deploy import Client, Gallery, Matcher, Retriever, Shards
from itr_deploy.errors import InputError
from tests.serving.conftest import Served
from tests.support.command import itr_deploy as command
from tests.support.items import images, names
from tests.support.retrieval import COUNT, QUERIES, columns, shown
from tests.support.servers import Running, running_server


@pytest.fixture(scope="module")
def shards(served: Served, tmp_path_factory: pytest.TempPathFactory) -> Shards:
    output = tmp_path_factory.mktemp("shards") / "three"
    itr_deploy.shard(served.gallery, count=3, output=output)
    return Shards.open(output)


@pytest.fixture(scope="module")
def running(
    served: Served, shards: Shards, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    """A server of the shards, in its own process."""
    log = tmp_path_factory.mktemp("server") / "log.txt"
    options = "--pictures", served.pictures, "--refresh", "0.5"
    with running_server(served.bundle, shards.root / "shards.json", log, *options) as running:
        yield running
        assert running.end() == 0, running.said
        assert "Traceback" not in running.said


@pytest.fixture
def client(running: Running) -> Iterator[Client]:
    with Client(running.url, retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def one(served: Served) -> Retriever:
    return served.retriever()


def test_answers_are_those_over_the_whole_gallery(
    client: Client, running: Running, one: Retriever
) -> None:
    for how in ({}, {"k": 3, "where": "split = 'test'"}, {"candidates": None}):
        found, expected = client.search(QUERIES[0], **how), one.search(QUERIES[0], **how)
        assert shown(found) == shown(expected)
        assert not found.partial
        assert (found.shards.total, found.shards.answered) == (3, 3)
    assert [hits.shards.total for hits in client.search(QUERIES)] == [3] * len(QUERIES)
    found, expected = client.explain(QUERIES[0], names(1)[0]), one.explain(QUERIES[0], names(1)[0])
    assert found.words == expected.words
    assert found.placed is not None
    assert client.score(QUERIES[:1], names(4)).shape == (1, 4)
    about = client.about()["gallery"]
    assert about["count"] == COUNT
    assert about["shards"] == {"total": 3, "living": 3, "replicas": 3, "living_replicas": 3}
    with httpx2.Client(base_url=running.url) as http:
        told = http.post("/v1/search", json={"query": QUERIES[0], "k": 2, "explain": True}).json()
        assert (told["partial"], told["shards"]["failed"]) == (False, [])
        assert all(hit["explanation"] for hit in told["hits"])
        assert http.get("/v1/items/item0003").json()["metadata"] == {"split": "train", "year": 3}
        assert http.get("/v1/items/item0003/picture").headers["content-type"] == "image/jpeg"
        assert http.get("/v1/items/none").status_code == 404
        figures = http.get("/metrics").text
        assert "itr_shards 3.0" in figures
        assert "itr_shards_living 3.0" in figures
        assert http.get("/readyz").json() == {"status": "ready"}


def test_what_is_refused_names_no_place_of_the_server(client: Client, shards: Shards) -> None:
    with pytest.raises(InputError, match="there is no column 'price'") as refused:
        client.search("a dog", where="price < 4")
    assert str(shards.root) not in str(refused.value)
    with pytest.raises(InputError, match="no item 'none'"):
        client.explain("a dog", "none")


def test_a_change_of_a_shard_is_picked_up(client: Client, shards: Shards, matcher: Matcher) -> None:
    name = "added"
    Gallery.open(shards.path_of(name), matcher).add([name], images(1, seed=77), columns(1))
    end = time.monotonic() + 30
    while client.about()["gallery"]["count"] == COUNT and time.monotonic() < end:
        time.sleep(0.1)
    assert client.search(QUERIES[0], where="id = 'added'").ids == ("added",)
    Gallery.open(shards.path_of(name)).delete([name])


def test_ray_and_replicas_are_for_shards_alone(served: Served) -> None:
    done = command("serve", served.bundle, "--gallery", served.gallery, "--ray")
    assert done.code == 2
    assert "ray= (--ray) is for a gallery in shards; make them with itr-deploy shard" in done.err
    done = command("serve", served.bundle, "--gallery", served.gallery, "--replicas", 2)
    assert done.code == 2


def test_a_search_from_the_command_line_takes_shards(served: Served, shards: Shards) -> None:
    words = "search", served.bundle, QUERIES[0], "--gallery"
    whole = command(*words, served.gallery)
    assert command(*words, shards.root).out == whole.out
    assert whole.code == 0


def test_a_killed_actor_is_said_and_comes_back(
    ray_cluster: Path, served: Served, shards: Shards, one: Retriever, tmp_path: Path
) -> None:
    ray = pytest.importorskip("ray")
    address = ray.get_runtime_context().gcs_address
    options = "--ray", address, "--missing-shards", "partial", "--refresh", "0"
    with (
        running_server(served.bundle, shards.root, tmp_path / "log.txt", *options) as running,
        Client(running.url) as client,
        httpx2.Client(base_url=running.url) as http,
    ):
        assert shown(client.search(QUERIES[0])) == shown(one.search(QUERIES[0]))
        os.kill(_process_of_an_actor(), signal.SIGKILL)
        end = time.monotonic() + 60
        while not (found := client.search(QUERIES[0])).partial:
            assert time.monotonic() < end
        assert (found.shards.total, found.shards.answered) == (3, 2)
        assert http.get("/readyz").json() == {"status": "degraded"}
        assert client.about()["gallery"]["shards"]["living"] == 2
        assert "itr_shards_living 2.0" in http.get("/metrics").text
        while (found := client.search(QUERIES[0])).partial:
            assert time.monotonic() < end
        assert shown(found) == shown(one.search(QUERIES[0]))
        assert http.get("/readyz").json() == {"status": "ready"}
        assert running.end() == 0, running.said


def _process_of_an_actor() -> int:
    """The process of a shard's actor, all of which this process's cluster has started."""
    own = psutil.Process().children(recursive=True)
    return next(one.pid for one in own if one.cmdline()[0].startswith("ray::ShardActor"))
