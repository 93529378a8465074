"""Shards in Ray's actors: equal hits, and what becomes of searches when a process is killed."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from itr_deploy import Gallery, Hits, Matcher, Retriever, Shards, ShardUnavailableError
from itr_deploy.errors import GalleryError, UsageError
from tests.support.items import captions, images
from tests.support.retrieval import assert_same, columns
from tests.support.shards import sharded

ray = pytest.importorskip("ray")

QUERIES = captions(200, seed=21)
PATIENCE = 60.0
"""Seconds after which a test gives up what takes a few."""


@pytest.fixture(scope="module")
def one(matcher: Matcher, whole: Path) -> Retriever:
    return Retriever.load(matcher.bundle.path, whole)


@pytest.fixture(scope="module")
def many(ray_cluster: Path, matcher: Matcher, four: Shards) -> Iterator[Retriever]:
    """Four shards of an actor each."""
    made = Retriever.load(matcher.bundle.path, four.root, ray="local", missing_shards="partial")
    yield made
    made.close()


@pytest.fixture(scope="module")
def two(
    ray_cluster: Path, matcher: Matcher, whole: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Retriever]:
    """Two shards of two replicas, whose galleries may be changed."""
    shards = sharded(whole, tmp_path_factory.mktemp("two") / "shards", 2)
    made = Retriever.load(
        matcher.bundle.path, shards.root / "shards.json", ray="local", replicas=2, shard_threads=1
    )
    yield made
    made.close()


def kill(retriever: Retriever, number: int) -> None:
    """End the process of a shard's first replica."""
    process = retriever.shards[number].processes[0]
    os.kill(int(process.rpartition(":")[2]), signal.SIGKILL)


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end
        time.sleep(0.1)


class Load:
    """Searches from another thread, until the block ends."""

    def __init__(self, retriever: Retriever) -> None:
        self.found: list[tuple[str, Hits | Exception]] = []
        self._retriever, self._ended = retriever, threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Load:
        self._thread.start()
        until(lambda: len(self.found) > 5)
        return self

    def __exit__(self, *error: Any) -> None:
        self._ended.set()
        self._thread.join(PATIENCE)

    def _run(self) -> None:
        while not self._ended.is_set():
            query = QUERIES[len(self.found) % len(QUERIES)]
            try:
                self.found.append((query, self._retriever.search(query)))
            except ShardUnavailableError as error:
                self.found.append((query, error))


def test_what_an_actor_cannot_load_is_told_in_its_words(
    ray_cluster: Path, matcher: Matcher, whole: Path, tmp_path: Path
) -> None:
    # Before the actors of the other tests, which leave no room.
    alone = sharded(whole, tmp_path / "shards", 1)
    shutil.rmtree(alone.paths[0])
    with pytest.raises(GalleryError, match="shard-0000: no such shard; copy it here"):
        Retriever.load(matcher.bundle.path, alone.root, ray="local")


def test_the_hits_of_200_queries_are_those_of_one_retriever(
    one: Retriever, many: Retriever
) -> None:
    many.warm_up()
    for query in QUERIES:
        assert_same([many.search(query)], [one.search(query)])
    assert_same(many.search(QUERIES), one.search(QUERIES))
    for how in ({"candidates": None}, {"where": "year < 70", "candidates": 9, "prefilter": 20}):
        assert_same(many.search(QUERIES[:5], **how), one.search(QUERIES[:5], **how))
    found, expected = (each.explain(QUERIES[0], "item0042") for each in (many, one))
    assert found.score == expected.score
    with pytest.raises(GalleryError, match="there is no column 'price'"):
        many.search("a dog", where="price < 4")
    assert len({status.processes for status in many.shards}) == 4


def test_a_killed_process_is_said_or_refused_and_is_back_by_itself(
    one: Retriever, many: Retriever, four: Shards, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Load(many) as load:
        kill(many, 2)
        until(lambda: any(isinstance(hits, Hits) and hits.partial for _, hits in load.found))
        until(lambda: not load.found[-1][1].partial)
    assert all(isinstance(hits, Hits) for _, hits in load.found)
    partial = [(query, hits) for query, hits in load.found if hits.partial]
    names = [name for name in one.gallery.ids() if four.path_of(name) != four.paths[2]]
    kept = "id IN ({})".format(", ".join(f"'{name}'" for name in names))
    for query, hits in partial[:20]:
        assert (hits.shards.answered, hits.shards.failed) == (3, ("shard-0002",))
        assert_same([hits], [one.search(query, where=kept)])
    for query, hits in load.found:
        if not hits.partial:
            assert_same([hits], [one.search(query)])
    monkeypatch.setattr(many.gallery.searcher, "missing", "refuse")
    with Load(many) as load:
        kill(many, 1)
        until(lambda: isinstance(load.found[-1][1], ShardUnavailableError))
        until(lambda: isinstance(load.found[-1][1], Hits))
    assert not any(isinstance(hits, Hits) and hits.partial for _, hits in load.found)
    assert_same([many.search(QUERIES[0])], [one.search(QUERIES[0])])


@pytest.mark.full
def test_an_actor_that_ray_does_not_start_again_is_made_again(many: Retriever) -> None:
    before = many.shards[3].processes
    actor = many.gallery._groups[3].members[0].replica.actor
    ray.kill(actor, no_restart=True)
    until(lambda: many.shards[3].living == 0)
    until(lambda: many.shards[3].living == 1)
    assert many.shards[3].processes != before
    assert not many.search(QUERIES[0]).partial


def test_the_other_replica_answers_and_versions_roll(
    one: Retriever, two: Retriever, matcher: Matcher
) -> None:
    with Load(two) as load:
        kill(two, 0)
        until(lambda: two.shards[0].living == 1)
        until(lambda: two.shards[0].living == 2)
    for query, hits in load.found:
        assert isinstance(hits, Hits)
        assert_same([hits], [one.search(query)])
    shards = Shards.open(two.gallery.path)
    new = [f"new{number}" for number in range(40)]
    for path, places in shards.split(new).items():
        own = {name: [values[p] for p in places] for name, values in columns(40).items()}
        Gallery.open(path, matcher).add(
            [new[place] for place in places], images(40, seed=4)[places], own
        )
    with Load(two) as load:
        assert two.refresh()
    assert all(isinstance(hits, Hits) for _, hits in load.found)
    assert [status.versions for status in two.shards] == [(3, 3)] * 2
    later = Retriever.load(matcher.bundle.path, two.gallery.path)
    assert_same(two.search(QUERIES[:20]), later.search(QUERIES[:20]))
    assert two.searched == (6, 190)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"bank": "texts"}, r"bank= \(--bank\) is for re-ranking, which shards have not"),
        ({"replicas": 2}, r"replicas= \(--replicas\) is of Ray's actors; give ray= \(--ray\)"),
        ({"missing_shards": "ignore"}, "must be 'refuse' or 'partial'"),
        ({"shard_timeout": 0}, "above 0"),
        ({"gallery": "gallery", "ray": "local"}, r"ray= \(--ray\) is for a gallery in shards"),
    ],
)
def test_what_makes_no_sense_is_refused_before_any_work(
    four: Shards, how: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        Retriever.load(**{"bundle": "absent", "gallery": four.root, **how})
