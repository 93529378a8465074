"""Rolling updates: replicas go over to a shard's newest version one by one, under searches."""

from __future__ import annotations

import shutil
import time
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from itr_deploy import Gallery, Matcher, Retriever, Shards, ShardUnavailableError
from itr_deploy.errors import GalleryError
from itr_deploy.runtime.search import cached
from itr_deploy.runtime.search.memory import Size
from itr_deploy.runtime.search.resident import ResidentSearcher
from itr_deploy.runtime.search.shards.held import HeldShard, Part
from tests.support.items import captions, images
from tests.support.retrieval import assert_same, columns
from tests.support.shards import Held, held

QUERY = captions(1, seed=11)[0]
CASCADE = {"candidates": 10, "prefilter": 100}


@pytest.fixture
def copy(four: Shards, tmp_path: Path) -> Shards:
    return Shards.open(shutil.copytree(four.root, tmp_path / "shards"))


@pytest.fixture(scope="module")
def one(matcher: Matcher, whole: Path) -> Retriever:
    return Retriever.load(matcher.bundle.path, whole)


def change(matcher: Matcher, shards: Shards, seed: int = 3) -> None:
    """Add an item to every shard that is better than all others for no query in particular."""
    for path in shards.paths:
        new = [n for n in map(f"new{seed}-{{}}".format, range(99)) if shards.path_of(n) == path]
        Gallery.open(path, matcher).add(new[:5], images(5, seed=seed), columns(5))


def after(shards: Shards, matcher: Matcher, **how: Any) -> Any:
    return Retriever.load(matcher.bundle.path, shards.root).search(QUERY, **how)


def test_one_replica_of_a_shard_at_a_time(
    matcher: Matcher, one: Retriever, copy: Shards, monkeypatch: pytest.MonkeyPatch
) -> None:
    two = held(matcher, copy, replicas=2, missing="refuse")
    before = one.search(QUERY, 60, **CASCADE)
    change(matcher, copy)
    later = after(copy, matcher, k=60, **CASCADE)
    assert later.ids != before.ids
    assert_same([two.retriever.search(QUERY, 60, **CASCADE)], [before])
    seen = []
    for own in two.replicas:
        for replica in own:
            refresh = replica.shard.refresh

            def during(refresh: Any = refresh, own: Any = own) -> Any:
                states = [
                    {r.shard.state().identity.version for r in every} for every in two.replicas
                ]
                seen.append([len(versions) for versions in states])
                # Whoever is asked now answers from one version of each shard in all rounds.
                two.retriever.search(QUERY, **CASCADE)
                return refresh()

            monkeypatch.setattr(replica.shard, "refresh", during)
    assert two.retriever.refresh()
    assert len(seen) == 8
    assert [max(sizes) for sizes in seen] == [1, 2] * 4
    assert all(sum(size - 1 for size in sizes) <= 1 for sizes in seen)
    assert_same([two.retriever.search(QUERY, 60, **CASCADE)], [later])
    assert not two.retriever.refresh()


def between(shards: Held, number: int, method: str, do: Any) -> None:
    """Do something once, before a stage of a search reaches a shard's first replica."""
    replica = shards.replicas[number][0]
    ask, left = replica.ask, [do]

    def asked(name: Any, *args: Any) -> Any:
        if name == method and left:
            left.pop()()
        return ask(name, *args)

    replica.ask = asked  # type: ignore[method-assign]


@pytest.mark.parametrize("method", ["narrowed", "matched"])
def test_a_version_that_is_succeeded_between_two_stages_is_read_to_the_end(
    matcher: Matcher, one: Retriever, copy: Shards, method: str
) -> None:
    shards = held(matcher, copy, missing="refuse")
    change(matcher, copy)
    between(shards, 2, method, shards.retriever.refresh)
    assert_same([shards.retriever.search(QUERY, 60, **CASCADE)], [one.search(QUERY, 60, **CASCADE)])
    later = after(copy, matcher, k=60, **CASCADE)
    assert_same([shards.retriever.search(QUERY, 60, **CASCADE)], [later])


@pytest.mark.parametrize("method", ["narrowed", "matched"])
def test_a_version_that_is_gone_between_two_stages_has_the_search_asked_again(
    matcher: Matcher, copy: Shards, method: str
) -> None:
    shards = held(matcher, copy, missing="refuse")

    def refresh_twice() -> None:
        for seed in (4, 5):
            change(matcher, copy, seed)
            shards.retriever.refresh()

    between(shards, 2, method, refresh_twice)
    found = shards.retriever.search(QUERY, 60, **CASCADE)
    assert_same([found], [after(copy, matcher, k=60, **CASCADE)])
    assert shards.replicas[2][0].asked.count("nearest") == 2


def test_a_replica_of_another_version_does_not_take_over_in_the_middle(
    matcher: Matcher, copy: Shards
) -> None:
    two = held(matcher, copy, replicas=2, missing="refuse")
    change(matcher, copy)
    for own in two.replicas:
        own[1].shard.refresh()
        own[1].shard._before = None
        own[0].lost_at = "matched"
    for _ in range(2):
        found = two.retriever.search(QUERY, 60, **CASCADE)
    assert_same([found], [after(copy, matcher, k=60, **CASCADE)])


def test_searches_that_never_end_are_given_up(matcher: Matcher, copy: Shards) -> None:
    shards = held(matcher, copy, missing="partial")
    replica = shards.replicas[0][0]
    ask = replica.ask

    def always_newer(name: Any, *args: Any) -> Any:
        if name == "matched":
            replica.shard._before = None
            args = (shards.replicas[1][0].shard.state().identity, *args[1:])
        return ask(name, *args)

    replica.ask = always_newer  # type: ignore[method-assign]
    with pytest.raises(ShardUnavailableError, match="lost while they were searched, 3 times"):
        shards.retriever.search(QUERY, **CASCADE)


def test_another_bundles_gallery_in_a_shards_place_is_not_gone_to(
    matcher: Matcher, one: Retriever, copy: Shards, tmp_path: Path
) -> None:
    two = held(matcher, copy, replicas=2, missing="refuse")
    place = copy.paths[1] / "items.lance"
    shutil.rmtree(place)
    other = Gallery.create(tmp_path / "texts", matcher, "text")
    other.add(["a"], ["a dog"])
    shutil.copytree(tmp_path / "texts" / "items.lance", place)
    with pytest.raises(GalleryError, match="shard-0001"):
        two.retriever.refresh()
    assert_same([two.retriever.search(QUERY)], [one.search(QUERY)])


def test_an_item_of_another_shard_is_not_gone_to(
    matcher: Matcher, one: Retriever, copy: Shards
) -> None:
    two = held(matcher, copy, replicas=2, missing="refuse")
    name = next(n for n in map("other{}".format, range(99)) if copy.path_of(n) == copy.paths[0])
    Gallery.open(copy.paths[1], matcher).add([name], images(1), columns(1))
    Gallery.open(copy.paths[2], matcher).delete([copy_id(copy, 2)])
    with pytest.raises(GalleryError, match=r"shard-0001: item 'other.*belongs to another shard"):
        two.retriever.refresh()
    versions = [status.versions for status in two.retriever.shards]
    assert versions == [(2, 2), (2, 2), (3, 3), (2, 2)]
    Gallery.open(copy.paths[1], matcher).delete([name])
    assert two.retriever.refresh()
    assert two.retriever.shards[1].versions == (4, 4)


def test_a_version_that_waited_on_disk_for_the_one_before_is_in_memory_after_that(
    matcher: Matcher, copy: Shards, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cached, "LONGEST_WAIT", 0.1)
    gallery = Gallery.open(copy.paths[0], matcher)
    shard = HeldShard(
        *(matcher, gallery, Part(0, 4)),
        memory_budget=Size.of(gallery, 0).bytes * 5 // 4,
        resident=None,
        kept=60.0,
    )
    assert isinstance(shard._loaded.searcher, ResidentSearcher)
    ids = gallery.ids()
    # So many that the gallery is read as a whole, beside the version that is kept.
    Gallery.open(copy.paths[0], matcher).delete(ids[: len(ids) // 3])
    shard.refresh()
    settled(shard)
    assert not isinstance(shard._loaded.searcher, ResidentSearcher)
    assert shard._before is not None
    shard._forget(weakref.ref(shard._before[0]))
    settled(shard)
    assert isinstance(shard._loaded.searcher, ResidentSearcher)


def settled(shard: HeldShard) -> None:
    until = time.monotonic() + 30
    while shard._cache._settling._running and time.monotonic() < until:
        time.sleep(0.01)


def copy_id(shards: Shards, number: int) -> str:
    return Gallery.open(shards.paths[number]).ids()[0]


def test_columns_that_shards_do_not_share_are_refused(
    matcher: Matcher, copy: Shards, tmp_path: Path
) -> None:
    path = copy.paths[3]
    ids = Gallery.open(path).ids()
    shutil.rmtree(path)
    Gallery.create(path, matcher).add(
        ids, images(len(ids)), {"price": np.arange(len(ids)).tolist()}
    )
    with pytest.raises(GalleryError, match="shard-0003: its column 'price' is not that of the fir"):
        Retriever.load(matcher.bundle.path, copy.root)
