"""A gallery that changes while it is searched: the hits are those of one that is opened anew."""

from __future__ import annotations

import gc
import logging
import re
import shutil
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from itr_deploy import Gallery, Matcher, Retriever
from itr_deploy.errors import GalleryError
from itr_deploy.runtime.encoding.regions import Regions
from itr_deploy.runtime.gallery.read import stored_bytes
from itr_deploy.runtime.search.disk import DiskSearcher
from itr_deploy.runtime.search.resident import ResidentSearcher
from tests.support.exports import Bundles
from tests.support.items import captions, images, names
from tests.support.leaprr import SMALL
from tests.support.retrieval import assert_same, search

KINDS = [
    *("image-float16", "image-float32", "image-int8", "ragged-float16", "ragged-int8"),
    *("text-float16", "text-float32", "text-int8"),
]
FORMS: dict[str, dict[str, Any]] = {
    "in memory": {"resident": True},
    "vectors in memory": {"resident": False, "memory_budget": 1 << 24},
    "on disk": {"resident": False, "memory_budget": 1000},
    "by the budget": {"memory_budget": 60_000},
}
SEARCHES: list[dict[str, Any]] = [
    {"k": 6},
    {"k": 6, "candidates": None},
    {"k": 4, "candidates": 8, "prefilter": 14},
    {"k": 4, "candidates": 6, "prefilter": None},
    {"k": 4, "candidates": 6, "where": "year > 2"},
    {"k": 4, "candidates": 5, "where": "year <> 3"},
    {"k": 4, "candidates": 3, "prefilter": 5, "where": "year < 5"},
    {"k": 20, "candidates": None, "where": "year IN (0, 2, 4)"},
]
CHANGES = ["add", "add", "delete", "update", "describe", "both", "compact", "replace", "empty"]


def items_of(kind: str, count: int, seed: int) -> Any:
    """Some items of which several are the same, so that their scores tie."""
    rng = np.random.default_rng(seed)
    if kind.startswith("text"):
        return [captions(9, seed=1)[number] for number in rng.integers(0, 9, count)]
    chosen = images(9, seed=1)[rng.integers(0, 9, count)]
    if kind.startswith("ragged"):
        return [image[:size] for image, size in zip(chosen, rng.integers(2, 6, count), strict=True)]
    return chosen


class Writer:
    """Changes a gallery as another process would, by handles of its own."""

    def __init__(self, matcher: Matcher, path: Path, kind: str, seed: int) -> None:
        self.matcher, self.path, self.kind = matcher, path, kind
        self.rng = np.random.default_rng(seed)
        self.handle: Callable[[], Gallery] = lambda: Gallery.open(path, matcher)
        self.made = 0
        self.create(8)

    def create(self, count: int) -> None:
        modality, storage = self.kind.split("-")
        ragged = modality == "ragged"
        modality = "image" if ragged else modality
        gallery = Gallery.create(self.path, self.matcher, modality, storage, ragged=ragged)
        self.add(gallery, count)

    def add(self, gallery: Gallery, count: int) -> None:
        ids = [f"{self.rng.integers(100):02}-{self.made + number}" for number in range(count)]
        self.made += count
        years = self.rng.integers(0, 7, count).tolist()
        given = items_of(self.kind, count, int(self.rng.integers(99)))
        gallery.add(
            ids, Regions(given) if self.kind.startswith("ragged") else given, {"year": years}
        )

    def change(self, what: str) -> None:
        if what == "replace":
            shutil.rmtree(self.path)
            self.create(int(self.rng.integers(1, 15)))
            return
        gallery = self.handle()
        ids = gallery.ids()
        count = int(self.rng.integers(1, 5))
        some = self.rng.permutation(ids)[:count].tolist()
        years = self.rng.integers(0, 7, len(some)).tolist()
        if what == "add" or not ids:
            self.add(gallery, count)
        elif what == "delete":
            gallery.delete(some)
        elif what == "update":
            gallery.update(some, items_of(self.kind, len(some), int(self.rng.integers(99))))
        elif what == "describe":
            gallery.update(some, metadata={"year": years})
        elif what == "both":
            given = items_of(self.kind, len(some), int(self.rng.integers(99)))
            gallery.update(some, given, {"year": years})
        elif what == "compact":
            gallery.table.optimize()
        elif what == "empty":
            gallery.delete(ids)


def assert_as_opened_anew(retriever: Retriever, form: dict[str, Any]) -> None:
    matcher = retriever.matcher
    fresh = Retriever(matcher, Gallery.open(retriever.gallery.path, matcher), **form)
    for options in SEARCHES:
        assert_same(search(retriever, **options), search(fresh, **options), 2e-5)
    assert retriever.searched == fresh.searched


# A tie's order, the width of blocks, and what is read depend on what came before. Every kind in one
# form, every form with two kinds; the rest before a release.
@pytest.mark.parametrize(
    ("kind", "form"),
    [
        pytest.param(
            *(kind, form), marks=[] if (number - place) % len(FORMS) == 0 else pytest.mark.full
        )
        for number, kind in enumerate(KINDS)
        for place, form in enumerate(FORMS)
    ],
)
@settings(deadline=None, max_examples=2, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 10**6), own=st.booleans())
def test_after_any_changes_the_hits_are_those_of_a_gallery_opened_anew(
    kind: str,
    form: str,
    seed: int,
    own: bool,
    matcher: Matcher,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    path = tmp_path_factory.mktemp("live") / "gallery"
    writer = Writer(matcher, path, kind, seed)
    retriever = Retriever(matcher, Gallery.open(path, matcher), **FORMS[form])
    assert_as_opened_anew(retriever, FORMS[form])
    if own:
        writer.handle = lambda: retriever.gallery
    for what in writer.rng.choice(CHANGES, 6):
        writer.change(str(what))
        if not own or what in ("replace", "compact"):
            retriever.refresh()
        assert_as_opened_anew(retriever, FORMS[form])


# What is read, and what waits


def read_and_gone(caplog: pytest.LogCaptureFixture) -> list[tuple[int, int]]:
    """Items read and gone of every change that was loaded alone."""
    lines = [record.getMessage() for record in caplog.records]
    found = [re.search(r": (\d+) read, (\d+) gone,", line) for line in lines]
    return [(int(match[1]), int(match[2])) for match in found if match]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", ["in memory", "vectors in memory"])
def test_only_what_changed_is_read(
    form: str, kind: str, matcher: Matcher, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    writer = Writer(matcher, tmp_path / "gallery", kind, 0)
    writer.add(Gallery.open(writer.path, matcher), 40)
    retriever = Retriever(matcher, Gallery.open(writer.path, matcher), **FORMS[form])
    before = search(retriever, k=5)
    older = retriever._searchers.searcher()
    with caplog.at_level(logging.INFO, "itr_deploy.runtime.search"):
        writer.add(writer.handle(), 3)
        retriever.refresh()
        writer.handle().delete(writer.handle().ids()[:2])
        retriever.refresh()
        writer.handle().update(writer.handle().ids()[:1], metadata={"year": [77]})
        retriever.refresh()
        assert not retriever.refresh()
    assert read_and_gone(caplog) == [(3, 0), (0, 2), (1, 1)]
    assert_as_opened_anew(retriever, FORMS[form])
    # A search that began before the changes ends as if there were none.
    retriever._searchers._current = replace_searcher(retriever, older)
    assert_same(search(retriever, k=5), before)


def replace_searcher(retriever: Retriever, older: Any) -> Any:
    current = retriever._searchers._current
    assert current is not None
    return replace(current, searcher=older)


def test_columns_that_others_rewrite_in_place_are_read_anew(
    matcher: Matcher, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    writer = Writer(matcher, tmp_path / "gallery", "image-float16", 0)
    retriever = Retriever(matcher, Gallery.open(writer.path, matcher), resident=True)
    retriever.warm_up()
    # Row ids stay, but their fragments have other files.
    writer.handle().table.add_columns({"next": "year + 1"})
    with caplog.at_level(logging.INFO, "itr_deploy.runtime.search"):
        assert retriever.refresh()
    assert read_and_gone(caplog) == []
    hits = retriever.search("a dog")
    assert all(hit.metadata["next"] == hit.metadata["year"] + 1 for hit in hits)


def test_searches_go_on_over_the_old_version_while_the_new_one_is_read(
    matcher: Matcher, tmp_path: Path
) -> None:
    writer = Writer(matcher, tmp_path / "gallery", "image-float16", 0)
    retriever = Retriever(matcher, Gallery.open(writer.path, matcher), resident=True)
    before = retriever.search("a dog")
    writer.change("replace")
    reading, go_on = threading.Event(), threading.Event()

    def pause(seconds: float) -> None:
        reading.set()
        assert go_on.wait(60)

    with ThreadPoolExecutor(1) as pool:
        refreshed = pool.submit(retriever._refresh, pause)
        try:
            assert reading.wait(60)
            assert retriever.search("a dog") == before
            assert retriever.gallery.count() == len(before)
        finally:
            go_on.set()
        assert refreshed.result()
    assert_as_opened_anew(retriever, FORMS["in memory"])


def test_a_change_of_its_own_during_a_refresh_is_searched_too(
    matcher: Matcher, tmp_path: Path
) -> None:
    writer = Writer(matcher, tmp_path / "gallery", "image-float16", 0)
    retriever = Retriever(matcher, Gallery.open(writer.path, matcher), resident=True)
    retriever.warm_up()
    writer.change("add")
    with_own = threading.Event()

    def pause(seconds: float) -> None:
        if not with_own.is_set():
            with_own.set()
            retriever.gallery.add(["own"], images(1), {"year": [1]})

    assert retriever._refresh(pause)
    assert with_own.is_set()
    assert "own" in retriever.search("a dog", k=100, candidates=None).ids
    assert_as_opened_anew(retriever, FORMS["in memory"])


def test_a_refresh_that_nobody_waits_for_is_done_in_the_background(
    matcher: Matcher, tmp_path: Path
) -> None:
    writer = Writer(matcher, tmp_path / "gallery", "image-float16", 0)
    retriever = Retriever(matcher, Gallery.open(writer.path, matcher))
    retriever.warm_up()
    writer.change("add")
    assert retriever.refresh(wait=False) is False
    until(lambda: retriever.searched == (Gallery.open(writer.path).version, writer.made))
    assert retriever.gallery.version == Gallery.open(writer.path).version


def test_what_goes_wrong_in_the_background_is_kept_and_searches_find_what_they_found(
    matcher: Matcher, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    writer = Writer(matcher, tmp_path / "gallery", "image-float16", 0)
    retriever = Retriever(matcher, Gallery.open(writer.path, matcher), resident=True)
    before = retriever.search("a dog")
    hidden = writer.path.rename(tmp_path / "hidden")
    with caplog.at_level(logging.WARNING):
        retriever.refresh(wait=False)
        until(lambda: retriever.refresh_error is not None)
        kept = retriever.refresh_error
        retriever.refresh(wait=False)
        until(lambda: retriever.refresh_error is not kept)
    assert isinstance(kept, GalleryError)
    # Its frames would keep what was being read.
    assert kept.__traceback__ is None
    assert kept.__context__ is None or kept.__context__.__traceback__ is None
    assert caplog.text.count("searches still find what they found") == 1
    with pytest.raises(GalleryError):
        retriever.refresh()
    assert retriever.search("a dog") == before
    hidden.rename(writer.path)
    retriever.refresh(wait=False)
    until(lambda: retriever.refresh_error is None)


def until(condition: Callable[[], bool]) -> None:
    """Wait for what another thread does, for a minute at most."""
    for _ in range(6000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it did not happen")


# Memory


@pytest.mark.parametrize("reranks", [False, True])
def test_a_retriever_that_nobody_has_any_more_is_freed_with_its_gallery(
    reranks: bool, bundle: Path, bundles: Bundles, tmp_path: Path
) -> None:
    matcher = Matcher.load(bundles.of(*SMALL.words(bundle)) if reranks else bundle)
    Gallery.create(tmp_path / "images", matcher).add(names(30), images(30))
    bank = None
    if reranks:
        Gallery.create(tmp_path / "texts", matcher, "text").add(names(30), captions(30))
        bank = tmp_path / "texts"
    gc.collect()
    gc.disable()
    try:
        retriever = Retriever.load(matcher.bundle.path, tmp_path / "images", bank=bank)
        retriever.search("a dog", rerank=reranks)
        Gallery.open(tmp_path / "images", matcher).add(["new"], images(1))
        retriever.refresh()
        searcher = weakref.ref(retriever._searchers.newest)
        del retriever
        assert searcher() is None
    finally:
        gc.enable()


def bytes_of(matcher: Matcher, path: Path) -> int:
    return stored_bytes(Gallery.open(path, matcher))


def test_a_gallery_that_replaces_one_is_on_disk_until_both_fit_the_budget(
    matcher: Matcher, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    writer = Writer(matcher, tmp_path / "gallery", "image-float16", 0)
    writer.add(writer.handle(), 30)
    budget = bytes_of(matcher, writer.path) * 3 // 2
    retriever = Retriever(matcher, Gallery.open(writer.path, matcher), memory_budget=budget)
    retriever.warm_up()
    assert isinstance(retriever._searchers.newest, ResidentSearcher)
    shutil.rmtree(writer.path)
    writer.create(38)
    with caplog.at_level(logging.INFO, "itr_deploy.runtime.search"):
        retriever.refresh()
        assert "searched on disk until" in caplog.text
        until(lambda: isinstance(retriever._searchers.newest, ResidentSearcher))
    assert "now in memory" in caplog.text
    assert_as_opened_anew(retriever, {"memory_budget": budget})


def test_a_gallery_that_outgrows_the_budget_goes_to_disk_with_its_vectors(
    matcher: Matcher, tmp_path: Path
) -> None:
    writer = Writer(matcher, tmp_path / "gallery", "image-float16", 0)
    writer.add(writer.handle(), 30)
    budget = bytes_of(matcher, writer.path) + 1
    retriever = Retriever(matcher, Gallery.open(writer.path, matcher), memory_budget=budget)
    retriever.warm_up()
    held = retriever._searchers._current.held
    writer.add(writer.handle(), 2)
    retriever.refresh()
    now = retriever._searchers._current
    assert isinstance(now.searcher, DiskSearcher)
    assert np.shares_memory(now.held.embedding, held.embedding)
    assert now.held.bytes <= budget
    assert_as_opened_anew(retriever, {"memory_budget": budget})


def test_items_that_are_gone_give_their_memory_back(matcher: Matcher, tmp_path: Path) -> None:
    writer = Writer(matcher, tmp_path / "gallery", "image-float16", 0)
    writer.add(writer.handle(), 32)
    retriever = Retriever(matcher, Gallery.open(writer.path, matcher), resident=True)
    retriever.warm_up()
    # Of its own: the next search reads no more than it must, and the rest is done behind it.
    retriever.gallery.delete(retriever.gallery.ids()[:20])
    assert len(retriever.search("a dog", k=40, candidates=None)) == 20
    until(lambda: len(retriever._searchers._current.held) == 20)
    assert_as_opened_anew(retriever, FORMS["in memory"])


@contextmanager
def under_load(search: Callable[[], Any]) -> Iterator[None]:
    """Searches by two threads until the block ends."""
    stop = threading.Event()

    def searches() -> int:
        done = 0
        while not stop.is_set() or not done:
            search()
            done += 1
        return done

    with ThreadPoolExecutor(2) as pool:
        running = [pool.submit(searches) for _ in range(2)]
        try:
            yield
        finally:
            stop.set()
        assert all(future.result() for future in running)


def test_a_gallery_that_is_replaced_under_load_is_searched_as_one_version_each(
    matcher: Matcher, tmp_path: Path
) -> None:
    path, beside = tmp_path / "gallery", tmp_path / "beside"
    Gallery.create(path, matcher).add(names(20, "0-"), images(20), {"year": [1] * 20})
    retriever = Retriever(matcher, Gallery.open(path, matcher), resident=True)

    def check() -> None:
        hits = retriever.search("a dog", k=12, candidates=15)
        assert len(hits) == 12
        assert len({name.split("-")[0] for name in hits.ids}) == 1, hits.ids

    alive: list[weakref.ref] = []
    with under_load(check):
        for number in range(1, 11):
            made = Gallery.create(beside, matcher)
            made.add(names(20, f"{number}-"), images(20, seed=number), {"year": [1] * 20})
            path.rename(tmp_path / f"old{number}")
            beside.rename(path)
            retriever.refresh()
            alive.append(weakref.ref(retriever._searchers._current.held))
            assert sum(one() is not None for one in alive) <= 2
    assert_as_opened_anew(retriever, FORMS["in memory"])


@pytest.mark.parametrize("form", ["in memory", "vectors in memory", "on disk"])
def test_items_that_are_added_under_load_are_found_one_after_the_other(
    form: str, matcher: Matcher, tmp_path: Path
) -> None:
    path = tmp_path / "gallery"
    writer = Gallery.create(path, matcher)
    writer.add(names(20), images(20), {"year": [1] * 20})
    retriever = Retriever(matcher, Gallery.open(path, matcher), **FORMS[form])

    def check() -> None:
        late = sorted(
            name for name in retriever.search("a dog", k=99, candidates=None).ids if "late" in name
        )
        assert late == names(len(late), "late")

    with under_load(check):
        for number in range(15):
            writer.add([f"late{number:04}"], images(1, seed=number), {"year": [2]})
            retriever.refresh()
            assert retriever.searched == (writer.version, 21 + number)
    assert_as_opened_anew(retriever, FORMS[form])
