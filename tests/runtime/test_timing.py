from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from itr_deploy import Gallery, Matcher, Retriever
from itr_deploy.runtime.timing import each, stage, timed_stages
from tests.support.items import captions, images, names


@pytest.fixture(scope="module")
def gallery(matcher: Matcher, tmp_path_factory: pytest.TempPathFactory) -> Gallery:
    made = Gallery.create(tmp_path_factory.mktemp("stages") / "gallery", matcher)
    made.add(names(30), images(30))
    return made


@pytest.mark.parametrize(
    ("resident", "widths", "expected"),
    [
        (True, (10, None), ["encode", "shortlist", "match"]),
        (True, (10, 20), ["encode", "shortlist", "prefilter", "match"]),
        (True, (None, None), ["encode", "match"]),
        (False, (10, None), ["encode", "shortlist", "gather", "match"]),
        (False, (10, 20), ["encode", "shortlist", "gather", "prefilter", "match"]),
        (False, (None, None), ["encode", "gather", "match"]),
    ],
)
def test_a_search_comes_to_its_stages_in_order_and_they_add_up_to_its_total(
    matcher: Matcher,
    gallery: Gallery,
    resident: bool,
    widths: tuple[int | None, int | None],
    expected: list[str],
) -> None:
    retriever = Retriever(matcher, gallery, resident=resident)
    with timed_stages() as times:
        retriever.search(captions(2), k=5, candidates=widths[0], prefilter=widths[1])
    assert list(times.seconds) == expected
    assert all(seconds > 0 for seconds in times.seconds.values())
    assert times.rest >= 0
    assert sum(times.seconds.values()) + times.rest == pytest.approx(times.total)


def test_a_stage_inside_of_another_is_part_of_it() -> None:
    with timed_stages() as times, stage("rerank"), stage("shortlist"):
        time.sleep(0.01)
    assert list(times.seconds) == ["rerank"]
    assert times.total >= times.seconds["rerank"] >= 0.01


def test_a_stage_that_comes_again_is_added() -> None:
    with timed_stages() as times:
        for _ in range(2):
            with stage("match"):
                time.sleep(0.01)
    assert times.seconds["match"] >= 0.02


def test_a_stage_that_fails_has_ended() -> None:
    with timed_stages() as times:
        with pytest.raises(ValueError, match="no"), stage("encode"):
            raise ValueError("no")
        with stage("match"):
            pass
    assert list(times.seconds) == ["encode", "match"]


def test_waiting_for_items_is_a_stage_and_their_use_is_not() -> None:
    with timed_stages() as times:
        for _ in each("gather", range(3)):
            with stage("match"):
                time.sleep(0.01)
    assert times.seconds["gather"] < 0.01 < times.seconds["match"]


def test_without_a_clock_marks_do_nothing_and_share_one_object() -> None:
    assert stage("match") is stage("encode")
    assert list(each("gather", range(3))) == [0, 1, 2]


def test_searches_in_other_threads_are_not_seen(matcher: Matcher, gallery: Gallery) -> None:
    retriever = Retriever(matcher, gallery)
    with timed_stages() as times, ThreadPoolExecutor(1) as pool:
        pool.submit(retriever.search, "a dog").result()
    assert times.seconds == {}


def test_a_clock_ends_with_its_block() -> None:
    with timed_stages() as times:
        pass
    with stage("match"):
        pass
    assert times.seconds == {}


def test_the_marks_leave_results_alone(matcher: Matcher, gallery: Gallery) -> None:
    retriever = Retriever(matcher, gallery)
    plain = retriever.search("a dog", k=5)
    with timed_stages():
        timed = retriever.search("a dog", k=5)
    assert timed.ids == plain.ids


def test_a_clock_tells_which_version_was_searched(matcher: Matcher, tmp_path: Path) -> None:
    gallery = Gallery.create(tmp_path / "gallery", matcher)
    gallery.add(["a", "b"], images(2))
    retriever = Retriever(matcher, gallery)
    with timed_stages() as times:
        assert times.searched is None
        retriever.search("a dog")
    assert times.searched == (gallery.version, 2) == retriever.searched
    gallery.delete(["a"])
    with timed_stages() as times:
        retriever.search("a dog")
    assert times.searched == (gallery.version, 1)
