"""What a manifest says of a table's fragments, and what changed between two versions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from itr_deploy import Gallery, Matcher
from itr_deploy.runtime.gallery.changes import Change, change
from itr_deploy.runtime.gallery.files import manifest_path, table_root
from itr_deploy.runtime.gallery.fragments import ROW_BITS, Fragments, read_fragments
from itr_deploy.runtime.gallery.read import read_row_ids
from tests.support.items import images, names


@pytest.fixture
def gallery(matcher: Matcher, tmp_path: Path) -> Gallery:
    made = Gallery.create(tmp_path / "gallery", matcher)
    made.add(names(6), images(6), {"year": list(range(6))})
    made.add(names(3, "late"), images(3, seed=1), {"year": [7, 8, 9]})
    return made


def fragments(gallery: Gallery, known: Fragments | None = None) -> Fragments:
    found = gallery.opened.fragments(known)
    assert found is not None
    return found


def changed(gallery: Gallery, rows: np.ndarray, before: Fragments) -> Change | None:
    now = fragments(gallery, before)
    return change(rows, np.arange(len(rows)), before, now, gallery)


def test_row_ids_are_the_fragments_numbers_and_places(gallery: Gallery) -> None:
    found = fragments(gallery)
    made = [
        (part.number << ROW_BITS) + np.arange(part.rows, dtype=np.int64)
        for part in found.of.values()
    ]
    np.testing.assert_array_equal(np.concatenate(made), read_row_ids(gallery))


def test_what_is_in_two_versions_is_read_once(gallery: Gallery) -> None:
    before = fragments(gallery)
    gallery.add(["new"], images(1, seed=2), {"year": [1]})
    after = fragments(gallery, before)
    assert [after.of[number] is part for number, part in before.of.items()] == [True, True]
    assert after == fragments(gallery)


def test_every_kind_of_change_is_told_by_its_rows(gallery: Gallery) -> None:
    before, rows = fragments(gallery), read_row_ids(gallery)
    gallery.add(["new"], images(1, seed=2), {"year": [1]})
    found = changed(gallery, rows, before)
    assert found is not None
    assert (len(found.gone), len(found.new)) == (0, 1)
    gallery.delete(["item0002", *names(3, "late")])  # a whole fragment, and a part of one
    found = changed(gallery, rows, before)
    assert found is not None
    assert (found.gone.tolist(), len(found.new)) == ([2, 6, 7, 8], 1)
    gallery.update(["item0001"], metadata={"year": [5]})
    gallery.update(["item0000"], images(1, seed=4))
    found = changed(gallery, rows, before)
    assert found is not None
    assert (found.gone.tolist(), len(found.new)) == ([0, 1, 2, 6, 7, 8], 3)
    np.testing.assert_array_equal(
        np.concatenate([np.delete(rows, found.gone), found.new]), read_row_ids(gallery)
    )


def test_all_items_changed_at_once_are_all_read_again(gallery: Gallery) -> None:
    before, rows = fragments(gallery), read_row_ids(gallery)
    gallery.update(gallery.ids(), metadata={"year": [0] * 9})
    found = changed(gallery, rows, before)
    assert found is None or (len(found.gone), len(found.new)) == (9, 9)


def test_fragments_with_other_files_are_told(gallery: Gallery) -> None:
    before, rows = fragments(gallery), read_row_ids(gallery)
    gallery.table.add_columns({"next": "year + 1"})
    gallery.refresh()
    np.testing.assert_array_equal(read_row_ids(gallery), rows)
    assert changed(gallery, rows, before) is None


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_manifest_of_any_bytes_is_read_or_not_understood(
    data: st.DataObject, gallery: Gallery
) -> None:
    root = table_root(gallery.path)
    path = manifest_path(root, gallery.version)
    assert path is not None
    content = bytearray(path.read_bytes())
    try:
        damaged = bytearray(content)
        for _ in range(data.draw(st.integers(1, 3))):
            damaged[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
        path.write_bytes(damaged[: data.draw(st.integers(0, len(content)))])
        found = read_fragments(root, gallery.version)
        assert found is None or isinstance(found, Fragments)
    finally:
        path.write_bytes(content)


def test_a_version_that_is_gone_has_no_fragments(gallery: Gallery) -> None:
    assert read_fragments(table_root(gallery.path), 99) is None
