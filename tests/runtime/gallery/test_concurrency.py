"""Several handles, threads and searches over one gallery."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from itr_deploy import Gallery, Matcher, Retriever
from itr_deploy.errors import GalleryError
from tests.support.items import images, names


def test_a_handle_opened_before_others_wrote_keeps_what_they_added(
    matcher: Matcher, tmp_path: Path
) -> None:
    first = Gallery.create(tmp_path / "gallery", matcher)
    second = Gallery.open(tmp_path / "gallery", matcher)
    second.add(["a", "b"], images(2))
    first.add(["c"], images(1))
    assert sorted(first.ids()) == ["a", "b", "c"]
    with pytest.raises(GalleryError, match="'c' is there already"):
        second.add(["c"], images(1))


def test_threads_that_add_the_same_id_add_it_once(matcher: Matcher, tmp_path: Path) -> None:
    gallery = Gallery.create(tmp_path / "gallery", matcher)

    def add(_: int) -> bool:
        try:
            Gallery.open(gallery.path, matcher).add(["same"], images(1))
        except GalleryError:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(add, range(4))) == 1
    gallery.refresh()
    assert gallery.ids() == ["same"]


@pytest.mark.parametrize("resident", [True, False])
def test_searches_beside_writes_see_one_version_each(
    resident: bool, matcher: Matcher, tmp_path: Path
) -> None:
    gallery = Gallery.create(tmp_path / "gallery", matcher)
    gallery.add(names(60), images(60), {"round": [0] * 60})
    retriever = Retriever(matcher, gallery, resident=resident)
    stop = threading.Event()

    def search() -> int:
        done = 0
        while not stop.is_set() or not done:
            assert len(retriever.search("a dog", k=5, candidates=20)) == 5
            done += 1
        return done

    with ThreadPoolExecutor(2) as pool:
        running = [pool.submit(search) for _ in range(2)]
        try:
            for number in range(1, 6):
                gallery.update(names(60), images(60), {"round": [number] * 60})
        finally:
            stop.set()
        assert all(future.result() for future in running)
    assert {hit.metadata["round"] for hit in retriever.search("a dog", k=60)} == {5}


def test_any_number_of_ties_at_the_shortlists_edge_fall_alike_in_memory_and_on_disk(
    matcher: Matcher, tmp_path: Path
) -> None:
    gallery = Gallery.create(tmp_path / "gallery", matcher)
    ids = sorted(names(300), reverse=True)
    gallery.add(ids, images(1).repeat(300, axis=0))
    for resident in (True, False):
        retriever = Retriever(matcher, gallery, resident=resident)
        hits = retriever.search("a dog", k=5, candidates=50)
        assert list(hits.ids) == sorted(ids)[:5]
