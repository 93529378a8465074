"""Shards that are lost: replicas take over, and what is missing is refused or said."""

from __future__ import annotations

import shutil
import time
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from itr_deploy import Gallery, Matcher, Retriever, Shards, ShardUnavailableError
from itr_deploy.errors import GalleryError, GalleryUnreadableError, InputError
from itr_deploy.runtime.search import cached
from itr_deploy.runtime.search.shards.held import HeldShard
from itr_deploy.runtime.search.shards.replicas import Call, Watch, ask_all
from tests.support.items import captions, images, names
from tests.support.retrieval import COUNT, assert_same, columns
from tests.support.shards import Held, Switch, held

QUERY = captions(1, seed=11)[0]
CASCADE = {"candidates": 24, "prefilter": 60}
METHODS = ["nearest", "narrowed", "matched"]


@pytest.fixture(scope="module")
def one(matcher: Matcher, whole: Path) -> Retriever:
    return Retriever.load(matcher.bundle.path, whole)


def without(one: Retriever, shards: Shards, *numbers: int, **how: Any) -> Any:
    """The hits of the whole gallery without some shards' items."""
    gone = {shards.paths[number] for number in numbers}
    kept = [name for name in one.gallery.ids() if shards.path_of(name) not in gone]
    return one.search(QUERY, where="id IN ({})".format(", ".join(f"'{n}'" for n in kept)), **how)


def look(shards: Held) -> None:
    """What the watch does, twice: ask, and take the answers."""
    watch = Watch(shards.groups, lambda state: None)
    watch.look()
    watch.look()


@pytest.mark.parametrize("method", METHODS)
def test_a_replica_takes_over_at_every_stage(
    matcher: Matcher, one: Retriever, four: Shards, method: Any
) -> None:
    two = held(matcher, four, replicas=2, missing="refuse")
    for own in two.replicas:
        for replica in own:
            replica.lost_at = method
        own[1].lost_at = None
    for _ in range(3):
        found = two.retriever.search(QUERY, **CASCADE)
        assert_same([found], [one.search(QUERY, **CASCADE)])
        assert not found.partial
    assert [status.living for status in two.retriever.shards] == [1, 1, 1, 1]


@pytest.mark.parametrize("method", METHODS)
def test_a_shard_without_a_replica_is_left_out_and_said(
    matcher: Matcher, one: Retriever, four: Shards, method: Any
) -> None:
    shards = held(matcher, four)
    shards.replicas[2][0].lost_at = method
    found = shards.retriever.search(QUERY, **CASCADE)
    assert_same([found], [without(one, four, 2, **CASCADE)])
    assert found.partial
    assert (found.shards.total, found.shards.answered) == (4, 3)
    assert found.shards.failed == ("shard-0002",)
    assert found != replace(found, shards=None)
    # It is not asked again until it answers the watch.
    shards.replicas[2][0].asked.clear()
    assert shards.retriever.search(QUERY).partial
    assert shards.replicas[2][0].asked == []
    look(shards)
    assert shards.retriever.search(QUERY).partial
    shards.replicas[2][0].lives = True
    look(shards)
    whole = shards.retriever.search(QUERY, **CASCADE)
    assert not whole.partial
    assert_same([whole], [one.search(QUERY, **CASCADE)])


@pytest.mark.parametrize("how", [CASCADE, {"candidates": None}])
def test_a_shard_without_a_replica_is_refused_where_all_are_wanted(
    matcher: Matcher, four: Shards, how: dict
) -> None:
    shards = held(matcher, four, missing="refuse")
    shards.replicas[3][0].lives = False
    with pytest.raises(ShardUnavailableError, match="1 of 4 shards do not answer: shard-0003: its"):
        shards.retriever.search(QUERY, **how)
    assert ShardUnavailableError.exit_code == 4


def test_without_any_shard_there_is_no_answer(matcher: Matcher, four: Shards) -> None:
    shards = held(matcher, four)
    for (replica,) in shards.replicas:
        replica.lives = False
    with pytest.raises(ShardUnavailableError, match=r"4 of 4 shards .*: shard-0000 \(and 3 more\)"):
        shards.retriever.search(QUERY)


def test_what_is_of_one_item_needs_its_shard_alone(matcher: Matcher, four: Shards) -> None:
    shards = held(matcher, four)
    lost = [name for name in names(COUNT) if four.path_of(name) == four.paths[1]]
    others = [name for name in names(2 * COUNT) if four.path_of(name) != four.paths[1]]
    shards.replicas[1][0].lives = False
    assert shards.retriever.explain(QUERY, others[0]).words
    with pytest.raises(ShardUnavailableError, match="shard-0001"):
        shards.retriever.explain(QUERY, lost[0])
    with pytest.raises(GalleryError, match=f"no item '{others[-1]}'"):
        shards.retriever.explain(QUERY, others[-1])


EVENTS = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 1), st.sampled_from([*METHODS, "lives"])),
    max_size=8,
)


@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(events=EVENTS, k=st.sampled_from([3, 20]))
def test_whatever_is_lost_whenever_the_hits_are_those_of_the_shards_that_answered(
    losing: tuple[Held, Shards, Retriever], events: list[tuple[int, int, Any]], k: int
) -> None:
    shards, four, one = losing
    for own in shards.replicas:
        for replica in own:
            replica.lives, replica.lost_at = True, None
    look(shards)
    for number, place, method in events:
        if method == "lives":
            shards.replicas[number][place].lives = False
        else:
            shards.replicas[number][place].lost_at = method
    try:
        found = shards.retriever.search(QUERY, k, **CASCADE)
    except ShardUnavailableError:
        dead = [sum(replica.lives for replica in own) for own in shards.replicas]
        assert 0 in dead
        return
    failed = [int(name[-4:]) for name in found.shards.failed]
    assert_same([found], [without(one, four, *failed, k=k, **CASCADE)])
    assert all(not any(replica.lives for replica in shards.replicas[number]) for number in failed)


@pytest.fixture(scope="module")
def losing(matcher: Matcher, one: Retriever, four: Shards) -> tuple[Held, Shards, Retriever]:
    return held(matcher, four, replicas=2), four, one


def test_an_error_of_the_question_is_told_and_loses_nobody(matcher: Matcher, four: Shards) -> None:
    shards = held(matcher, four)
    with pytest.raises(GalleryError, match="there is no column 'price'"):
        shards.retriever.search(QUERY, where="price < 4")
    with pytest.raises(InputError):
        shards.retriever.search("")
    assert all(status.living for status in shards.retriever.shards)


def test_a_gallery_that_cannot_be_read_is_a_lost_replica(
    matcher: Matcher, one: Retriever, four: Shards, monkeypatch: pytest.MonkeyPatch
) -> None:
    two = held(matcher, four, replicas=2, missing="refuse")

    def unreadable(*args: Any) -> Any:
        raise GalleryUnreadableError("gallery: its files are gone")

    for own in two.replicas:
        monkeypatch.setattr(own[0].shard, "nearest", unreadable)
    for _ in range(2):
        assert_same([two.retriever.search(QUERY)], [one.search(QUERY)])
    assert [status.living for status in two.retriever.shards] == [1, 1, 1, 1]


class Silent(Switch):
    """A replica that never answers."""

    def ask(self, method: Any, *args: Any) -> Future[Any]:
        return Future()


def test_a_replica_that_does_not_answer_in_time_is_given_up(matcher: Matcher, four: Shards) -> None:
    two = held(matcher, four, replicas=2)
    two.groups[1].members[0].replica = Silent(two.replicas[1][0].shard)
    began = time.monotonic()
    for _ in range(2):
        answers = ask_all(two.groups, {1: Call("count", (None,))}, time.monotonic() + 0.2)
        assert answers.values.keys() == {1}
    assert [member.lives for member in two.groups[1].members] == [False, True]
    two.groups[1].members[1].replica = Silent(two.replicas[1][1].shard)
    answers = ask_all(two.groups, {1: Call("count", (None,))}, time.monotonic() + 0.2)
    assert answers.lost == {1: "does not answer in time"}
    assert time.monotonic() - began < 5


def test_the_watch_takes_nobody_back_who_is_another(matcher: Matcher, four: Shards) -> None:
    shards = held(matcher, four)
    shards.groups[0].members[0].fell("its process has ended")
    watch = Watch(shards.groups, lambda state: "is of another bundle")
    watch.look()
    watch.look()
    assert shards.groups[0].members[0].why == "is of another bundle"
    with pytest.raises(ShardUnavailableError, match=r"shard-0000.*is of another bundle"):
        shards.retriever.search(QUERY)


def test_an_item_of_another_shard_is_refused(
    matcher: Matcher, four: Shards, tmp_path: Path
) -> None:
    copy = Shards.open(shutil.copytree(four.root, tmp_path / "copy"))
    name = next(n for n in map("other{}".format, range(99)) if copy.path_of(n) == copy.paths[1])
    Gallery.open(copy.paths[2], matcher).add([name], images(1), columns(1))
    with pytest.raises(GalleryError, match=f"shard-0002: item '{name}' belongs to another shard"):
        Retriever.load(matcher.bundle.path, copy.root)


def test_a_shard_of_this_process_is_searched_again_after_a_search_that_failed(
    matcher: Matcher, one: Retriever, four: Shards, monkeypatch: pytest.MonkeyPatch
) -> None:
    retriever = Retriever.load(matcher.bundle.path, four.root)
    nearest, left = HeldShard.nearest, [GalleryUnreadableError("gallery: the disk is away")]

    def once(shard: HeldShard, *args: Any) -> Any:
        if left:
            raise left.pop()
        return nearest(shard, *args)

    monkeypatch.setattr(HeldShard, "nearest", once)
    with pytest.raises(ShardUnavailableError, match="shard-0000: gallery: the disk is away"):
        retriever.search(QUERY)
    until = time.monotonic() + 30
    while not all(status.living for status in retriever.shards) and time.monotonic() < until:
        time.sleep(0.01)
    assert_same([retriever.search(QUERY)], [one.search(QUERY)])
    retriever.close()


def test_a_shard_that_was_refused_is_searched_again_when_it_is_put_right(
    matcher: Matcher,
    one: Retriever,
    four: Shards,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cached, "LONGEST_WAIT", 0.1)
    copy = Shards.open(shutil.copytree(four.root, tmp_path / "copy"))
    shards = held(matcher, copy, missing="refuse")
    path = copy.paths[3]
    ids = Gallery.open(path).ids()
    shutil.rmtree(path)
    Gallery.create(path, matcher).add(ids, images(len(ids)), {"price": [1.0] * len(ids)})
    wrong = "shard-0003: its column 'price' is not that of the first"
    for _ in range(2):
        with pytest.raises(GalleryError, match=wrong):
            shards.retriever.refresh()
        with pytest.raises(ShardUnavailableError, match="column 'price'"):
            shards.retriever.search(QUERY)
    shutil.rmtree(path)
    shutil.copytree(four.paths[3], path)
    assert shards.retriever.refresh()
    assert_same([shards.retriever.search(QUERY)], [one.search(QUERY)])
