"""Galleries in memory whose candidates are chosen by bytes, while they change."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from itr_deploy import Gallery, Matcher, Retriever
from itr_deploy.runtime.gallery.held import Held
from itr_deploy.runtime.search import loading, narrowing
from itr_deploy.runtime.search.narrowing import read_as_bytes
from tests.support.items import images, names
from tests.support.retrieval import resident, search, shared_hits

COUNT = 300
SEARCH: dict[str, Any] = {"k": 10, "candidates": 20, "refine": 50, "prefilter": 150}


@pytest.fixture(autouse=True)
def _from_few_items(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "FROM", 100)
    monkeypatch.setattr(narrowing, "multiplies_bytes", lambda: True)


@pytest.fixture(params=["float16", "float32"])
def gallery(request: Any, matcher: Matcher, tmp_path: Path) -> Gallery:
    made = Gallery.create(tmp_path / "gallery", matcher, storage=request.param)
    made.add(names(COUNT), images(COUNT))
    return made


def held_by(retriever: Retriever) -> Held:
    current = retriever._searchers._current
    assert current is not None
    assert current.held is not None
    return current.held


def made(matcher: Matcher, retriever: Retriever) -> bool:
    """Whether the current version has bytes of all that is read."""
    held = held_by(retriever)
    return held.in_bytes.of(held.pools, read_as_bytes(matcher, "image"), held.encoded) is not None


def wait(matcher: Matcher, retriever: Retriever) -> None:
    end = time.monotonic() + 60
    while not made(matcher, retriever) and time.monotonic() < end:
        time.sleep(0.01)
    assert made(matcher, retriever)


def kept(matcher: Matcher, retriever: Retriever, monkeypatch: pytest.MonkeyPatch) -> float:
    """Share of the hits that floats choose; their scores are the same."""
    found = search(retriever, **SEARCH)
    with monkeypatch.context() as patch:
        patch.setattr(loading, "FROM", 10**9)
        exact = search(resident(matcher, Gallery.open(retriever.gallery.path, matcher)), **SEARCH)
    return shared_hits(found, exact)


def test_bytes_follow_a_gallery_that_changes_and_hits_stay_nearly_the_same(
    matcher: Matcher, gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert read_as_bytes(matcher, "image")
    retriever = resident(matcher, Gallery.open(gallery.path, matcher))
    search(retriever, **SEARCH)
    wait(matcher, retriever)
    assert kept(matcher, retriever, monkeypatch) >= 0.95
    before = held_by(retriever).in_bytes
    gallery.delete(names(COUNT)[:20])
    gallery.add([f"more{number}" for number in range(40)], images(40, seed=6))
    retriever.refresh()
    search(retriever, **SEARCH)
    wait(matcher, retriever)
    assert held_by(retriever).in_bytes is before
    assert held_by(retriever).bytes > before.bytes > 0
    assert kept(matcher, retriever, monkeypatch) >= 0.95


def test_a_search_with_bytes_reads_them(matcher: Matcher, gallery: Gallery) -> None:
    retriever = resident(matcher, Gallery.open(gallery.path, matcher))
    search(retriever, **SEARCH)
    wait(matcher, retriever)
    current = retriever._searchers._current
    assert current is not None
    searcher: Any = current.searcher
    search(retriever, **SEARCH)
    read = [searcher._narrowed_items(part) for part in (matcher.prefilter, matcher.refiner) if part]
    of_bytes = [{block.storage for block in items.blocks} == {"uint8"} for items in read]
    assert of_bytes == [
        bool(part.in_bytes("image")) for part in (matcher.prefilter, matcher.refiner) if part
    ]


@pytest.mark.parametrize("why", ["few items", "no room", "no room, resident", "no VNNI"])
def test_without_need_room_or_cpu_there_are_none(
    why: str, matcher: Matcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = 99 if why == "few items" else COUNT
    gallery = Gallery.create(tmp_path / "few", matcher)
    gallery.add(names(count), images(count))
    budget = 1 << 30
    if why == "no VNNI":
        monkeypatch.setattr(narrowing, "multiplies_bytes", lambda: False)
    if why.startswith("no room"):
        budget = held_by(_searched(matcher, gallery, budget, monkeypatch)).bytes + 10
    loaded = True if why == "no room, resident" else None
    retriever = _searched(matcher, gallery, budget, monkeypatch, loaded)
    assert held_by(retriever).has_tensors
    assert held_by(retriever).in_bytes.bytes == 0


def test_where_a_gallery_outgrows_the_budget_bytes_are_given_up_before_tensors(
    matcher: Matcher, gallery: Gallery
) -> None:
    retriever = resident(matcher, Gallery.open(gallery.path, matcher))
    search(retriever, **SEARCH)
    wait(matcher, retriever)
    both, plain = held_by(retriever).bytes, held_by(retriever).bytes
    plain -= held_by(retriever).in_bytes.bytes
    retriever = Retriever(matcher, Gallery.open(gallery.path, matcher), memory_budget=both + 99)
    search(retriever, **SEARCH)
    wait(matcher, retriever)
    room = COUNT * (both - plain) // plain - 2
    retriever.gallery.delete(names(COUNT)[:60])
    retriever.gallery.add([f"more{number}" for number in range(room)], images(room, seed=6))
    search(retriever, **SEARCH)
    assert held_by(retriever).has_tensors
    assert held_by(retriever).in_bytes.bytes == 0
    assert held_by(retriever).bytes <= both + 99


def test_bytes_for_which_there_is_no_memory_are_told_and_searches_go_on(
    matcher: Matcher,
    gallery: Gallery,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def full(*given: Any) -> None:
        raise MemoryError("no 9 GB")

    monkeypatch.setattr("itr_deploy.runtime.gallery.in_bytes.as_bytes", full)
    retriever = resident(matcher, Gallery.open(gallery.path, matcher))
    search(retriever, **SEARCH)
    end = time.monotonic() + 60
    while "stay chosen by floats" not in caplog.text and time.monotonic() < end:
        time.sleep(0.01)
    assert f"candidates of {COUNT} items stay chosen by floats: no 9 GB" in caplog.text
    assert len(search(retriever, **SEARCH)[0]) == SEARCH["k"]


def _searched(
    matcher: Matcher,
    gallery: Gallery,
    budget: int,
    monkeypatch: pytest.MonkeyPatch,
    loaded: bool | None = None,
) -> Retriever:
    """A retriever that has searched; nothing is made beside it that would be later."""
    asked: list[Any] = []
    monkeypatch.setattr(
        "itr_deploy.runtime.gallery.in_bytes.InBytes.make_beside",
        lambda own, held, named, pause: (
            asked.append(own.make(held, named)) if budget < 1 << 30 else None
        ),
    )
    opened = Gallery.open(gallery.path, matcher)
    retriever = Retriever(matcher, opened, memory_budget=budget, resident=loaded)
    search(retriever, **SEARCH)
    return retriever
