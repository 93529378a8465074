"""Galleries in memory whose shortlists are found by codes, while they change."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from itr_deploy import Gallery, Matcher, Retriever
from itr_deploy.runtime.gallery import codes
from itr_deploy.runtime.gallery.codes import Codes
from itr_deploy.runtime.search import coarse
from itr_deploy.runtime.search.memory import Size
from tests.support.items import captions, images, names
from tests.support.retrieval import on_disk, resident, search, shared_hits

pytest.importorskip("faiss")
COUNT, ROOM = 300, 1 << 24
FORMS = pytest.mark.parametrize("form", ["in memory", "vectors in memory"])
SEARCH: dict[str, Any] = {"k": 10, "candidates": 20, "prefilter": None}


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Codes from 100 items on, used for shortlists of a few."""
    monkeypatch.setattr(codes, "FROM", 100)
    monkeypatch.setattr(codes, "LEAST", 30)
    monkeypatch.setattr(coarse, "BESIDE", 10)
    monkeypatch.setattr(coarse, "MOST", 2)


@pytest.fixture
def gallery(matcher: Matcher, tmp_path: Path) -> Gallery:
    made = Gallery.create(tmp_path / "gallery", matcher)
    made.add(names(COUNT), images(COUNT))
    return made


def loaded(matcher: Matcher, gallery: Gallery, form: str) -> Retriever:
    """A retriever that has searched."""
    opened = Gallery.open(gallery.path, matcher)
    found = resident(matcher, opened) if form == "in memory" else on_disk(matcher, opened, ROOM)
    search(found, **SEARCH)
    return found


def codes_of(retriever: Retriever) -> Codes:
    current = retriever._searchers._current
    assert current is not None
    assert current.held is not None
    return current.held.codes


def wait(retriever: Retriever, covered: int) -> Codes:
    found, end = codes_of(retriever), time.monotonic() + 60
    while found.covered != covered and time.monotonic() < end:
        time.sleep(0.01)
    assert found.covered == covered
    return found


def kept(matcher: Matcher, retriever: Retriever, monkeypatch: pytest.MonkeyPatch) -> float:
    """Share of the exact hits, whose scores are the same; that codes were asked is checked."""
    asked, nearest = [], Codes.nearest

    def counted(own: Codes, *given: Any) -> Any:
        asked.append(given[1])
        return nearest(own, *given)

    with monkeypatch.context() as patch:
        patch.setattr(Codes, "nearest", counted)
        found = search(retriever, **SEARCH)
    assert asked
    with monkeypatch.context() as patch:
        patch.setattr(codes, "FROM", 10**9)
        exact = search(resident(matcher, Gallery.open(retriever.gallery.path, matcher)), **SEARCH)
    return shared_hits(found, exact)


@FORMS
def test_codes_are_made_beside_the_first_searches_and_hits_stay_nearly_the_same(
    matcher: Matcher, gallery: Gallery, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    retriever = loaded(matcher, gallery, form)
    wait(retriever, COUNT)
    assert kept(matcher, retriever, monkeypatch) >= 0.95


@FORMS
def test_codes_follow_a_gallery_that_changes(
    matcher: Matcher, gallery: Gallery, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    retriever = loaded(matcher, gallery, form)
    made = wait(retriever, COUNT)
    ids = names(COUNT)
    gallery.delete(ids[:20])
    gallery.update(ids[20:25], images(5, seed=4))
    gallery.add(["late"], images(1, seed=5))
    retriever.refresh()
    assert codes_of(retriever) is made
    assert made.covered == COUNT
    assert kept(matcher, retriever, monkeypatch) >= 0.95
    assert not {*ids[:20]} & {name for hits in search(retriever, **SEARCH) for name in hits.ids}
    (hits,) = retriever.search(captions(1), k=1, where="id = 'late'")
    assert hits.ids == ("late",)
    gallery.add([f"more{number}" for number in range(40)], images(40, seed=6))
    gallery.compact(keep=0)
    retriever.refresh()
    assert codes_of(retriever) is made
    wait(retriever, COUNT + 46)
    assert kept(matcher, retriever, monkeypatch) >= 0.95


def test_a_gallery_that_was_made_anew_has_codes_of_its_own(
    matcher: Matcher, gallery: Gallery
) -> None:
    retriever = loaded(matcher, gallery, "in memory")
    before = wait(retriever, COUNT)
    gallery.delete(names(COUNT)[: COUNT // 2])
    retriever.refresh()
    after = wait(retriever, COUNT // 2)
    assert after is not before


def test_a_small_gallery_has_none(matcher: Matcher, tmp_path: Path) -> None:
    gallery = Gallery.create(tmp_path / "gallery", matcher)
    gallery.add(names(99), images(99))
    retriever = loaded(matcher, gallery, "in memory")
    assert not codes_of(retriever).due(99)
    assert codes_of(retriever).covered == 0


def test_codes_are_part_of_the_budget(
    matcher: Matcher, gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_codes = Size.of(gallery, ROOM)
    retriever = loaded(matcher, gallery, "in memory")
    found = wait(retriever, COUNT)
    current = retriever._searchers._current
    assert current is not None
    assert current.bytes == with_codes.bytes
    monkeypatch.setattr(codes, "FROM", COUNT + 1)
    without = Size.of(gallery, ROOM)
    assert with_codes.bytes - without.bytes == found.bytes
    assert with_codes.vectors - without.vectors == found.bytes
