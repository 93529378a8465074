"""The approximate index of a gallery's coarse embeddings, by LanceDB."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from itr_deploy import Gallery, Matcher
from itr_deploy.errors import GalleryError
from itr_deploy.runtime.gallery import read
from itr_deploy.runtime.gallery.held import Held
from tests.support.items import images, names
from tests.support.retrieval import on_disk, resident, search

COUNT = 300
NO_ROOM = 1
"""Bytes of memory in which no coarse embeddings fit."""


@pytest.fixture
def gallery(matcher: Matcher, tmp_path: Path) -> Gallery:
    made = Gallery.create(tmp_path / "gallery", matcher)
    made.add(names(COUNT), images(COUNT))
    return made


def kept(matcher: Matcher, gallery: Gallery, **options: object) -> float:
    """Share of the exact hits that a search by the index finds."""
    found = search(on_disk(matcher, gallery, NO_ROOM), **options)
    exact = search(resident(matcher, gallery), **options)
    pairs = zip(found, exact, strict=True)
    return float(np.mean([len({*one.ids} & {*other.ids}) / len(other.ids) for one, other in pairs]))


def test_a_search_by_the_index_finds_nearly_what_an_exact_one_does(
    matcher: Matcher, gallery: Gallery
) -> None:
    assert gallery.coarse_indexed == 0
    gallery.build_coarse_index()
    assert gallery.coarse_indexed == COUNT
    assert kept(matcher, gallery, k=10, candidates=40) >= 0.9


def test_vectors_that_fit_the_memory_are_compared_exactly_all_the_same(
    matcher: Matcher, gallery: Gallery
) -> None:
    gallery.build_coarse_index()
    found = search(on_disk(matcher, gallery), k=10, candidates=20)
    exact = search(resident(matcher, gallery), k=10, candidates=20)
    assert [hits.ids for hits in found] == [hits.ids for hits in exact]


def test_items_that_were_added_later_are_found_too(matcher: Matcher, gallery: Gallery) -> None:
    gallery.build_coarse_index()
    gallery.add([f"late{number}" for number in range(40)], images(40, seed=3))
    assert gallery.coarse_indexed == COUNT
    late = search(on_disk(matcher, gallery, NO_ROOM), k=5, candidates=40, where="id LIKE 'late%'")
    assert all(name.startswith("late") for hits in late for name in hits.ids)
    assert kept(matcher, gallery, k=10, candidates=60) >= 0.9
    gallery.build_coarse_index()
    assert gallery.coarse_indexed == COUNT + 40


def test_what_the_index_finds_comes_with_its_own_vectors(gallery: Gallery) -> None:
    gallery.build_coarse_index()
    held = Held.load(gallery, tensors=False)
    vectors, rows = held.vectors, held.rows
    query = vectors.embedding[7]
    found, embeddings, _ = read.nearest_rows(gallery, query, 20, None, COUNT)
    place = {row: number for number, row in enumerate(rows.tolist())}
    np.testing.assert_array_equal(embeddings, vectors.embedding[[place[r] for r in found.tolist()]])
    assert rows[7] in found


def test_an_empty_gallery_has_nothing_to_index(matcher: Matcher, tmp_path: Path) -> None:
    empty = Gallery.create(tmp_path / "empty", matcher)
    with pytest.raises(GalleryError, match="is empty; add items before its coarse index"):
        empty.build_coarse_index()
