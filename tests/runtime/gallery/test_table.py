from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from itr_deploy import Gallery, Matcher
from itr_deploy.errors import GalleryError
from itr_deploy.runtime.gallery import checksums
from itr_deploy.runtime.gallery.boundary import damaged
from itr_deploy.runtime.gallery.layout import describe, metadata_columns
from itr_deploy.runtime.gallery.table import GalleryTable
from tests.support.items import images, names


def asked(gallery: Gallery) -> tuple:
    """What LanceDB says of the table, asked anew."""
    table = gallery.table
    return table.version, describe(table.schema, gallery.path), metadata_columns(table.schema)


def said(gallery: Gallery) -> tuple:
    return gallery.version, gallery.description, gallery.metadata_columns


@pytest.fixture
def gallery(matcher: Matcher, tmp_path: Path) -> Gallery:
    return Gallery.create(tmp_path / "gallery", matcher)


def test_a_gallery_says_what_it_is_after_every_change(gallery: Gallery) -> None:
    seen = [said(gallery)]
    for change in (
        lambda: gallery.add(names(4), images(4), {"year": [1, 2, 3, 4]}),
        lambda: gallery.add(["more"], images(1)),
        lambda: gallery.update(["more"], images(1, seed=1)),
        lambda: gallery.update(["more"], metadata={"year": [7]}),
        lambda: gallery.delete(names(2)),
        gallery.build_coarse_index,
    ):
        change()
        assert said(gallery) == asked(gallery)
        assert gallery.version > seen[-1][0]
        seen.append(said(gallery))
    assert seen[0][1].positions is None
    assert seen[1][1].positions == 5
    assert gallery.metadata_columns == ["year"]


def test_between_changes_the_description_is_not_parsed_again(gallery: Gallery) -> None:
    gallery.add(names(2), images(2))
    first = gallery.description
    assert gallery.description is first
    gallery.refresh()
    assert gallery.description == first


def test_what_another_handle_changed_is_said_after_a_refresh(gallery: Gallery) -> None:
    other = Gallery.open(gallery.path, gallery.matcher)
    before = said(gallery)
    other.add(names(3), images(3, regions=9), {"year": [1, 2, 3]})
    assert said(gallery) == before
    gallery.refresh()
    assert said(gallery) == said(other) == asked(gallery)
    assert gallery.description.positions == 9


def test_a_refused_change_leaves_what_is_said(gallery: Gallery) -> None:
    gallery.add(names(2), images(2), {"year": [1, 2]})
    before = said(gallery)
    with pytest.raises(GalleryError, match="is there already"):
        gallery.add(names(1), images(1))
    assert said(gallery) == before == asked(gallery)


def test_a_snapshot_says_what_its_version_was(gallery: Gallery) -> None:
    gallery.add(names(3), images(3))
    snapshot = gallery.snapshot()
    before = said(snapshot)
    gallery.add(["more"], images(1))
    assert said(snapshot) == before == asked(snapshot)
    assert snapshot.count() == 3
    assert gallery.version > snapshot.version


def test_readers_beside_a_writer_never_keep_what_was_before_the_write(gallery: Gallery) -> None:
    gallery.add(names(2), images(2))
    table = GalleryTable.open(gallery.path)
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            assert table.state.description.modality == "image"

    with ThreadPoolExecutor(3) as pool:
        readers = [pool.submit(read) for _ in range(3)]
        try:
            last = table.state.version
            for number in range(12):
                with table.writing():
                    table.lance.delete(f"id = 'no{number}'")
                assert table.state.version == table.lance.version == last + 1
                last += 1
        finally:
            stop.set()
        for reader in readers:
            reader.result()


@pytest.mark.parametrize(
    "change",
    [
        lambda gallery: gallery.add(["more"], images(1)),
        lambda gallery: gallery.delete(names(1)),
        lambda gallery: gallery.update(names(1), metadata={"year": [3]}),
        lambda gallery: gallery.build_coarse_index(),
        lambda gallery: gallery.refresh(),
    ],
)
def test_a_snapshot_is_never_changed(change: Callable[[Gallery], None], gallery: Gallery) -> None:
    gallery.add(names(2), images(2), {"year": [1, 2]})
    snapshot, before = gallery.snapshot(), said(gallery)
    with pytest.raises(GalleryError, match="this is a snapshot, which stays at version"):
        change(snapshot)
    assert said(snapshot) == before == asked(gallery)


def test_a_refresh_opens_the_table_only_after_a_change(
    gallery: Gallery, matcher: Matcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    gallery.add(names(2), images(2))
    opened = []
    check = checksums.check_sizes
    monkeypatch.setattr(checksums, "check_sizes", lambda *of: opened.append(of) or check(*of))
    gallery.refresh()
    gallery.delete(names(1))
    assert not opened
    Gallery.open(gallery.path, matcher).add(["more"], images(1))
    opened.clear()
    gallery.refresh()
    assert len(opened) == 1
    assert gallery.ids() == [*names(2)[1:], "more"]


@pytest.mark.parametrize("by", ["open", "refresh"])
def test_a_gallery_that_is_exchanged_while_it_is_opened_is_read_again(
    by: str,
    gallery: Gallery,
    matcher: Matcher,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As when the checksums are those of the old files and the files are the new ones."""
    gallery.add(names(2), images(2))
    new = Gallery.create(tmp_path / "new", matcher)
    new.add(names(3), images(3))
    Gallery.open(gallery.path, matcher).add(["more"], images(1))
    root, check = Path(gallery.path) / "items.lance", checksums.check_sizes

    def exchanged_once(path: str, of: Path) -> None:
        if (tmp_path / "new").exists():
            root.rename(tmp_path / "old")
            (tmp_path / "new" / "items.lance").rename(root)
            (tmp_path / "new").rmdir()
            raise damaged(path, "data/x has 1 bytes, 2 were written")
        check(path, of)

    monkeypatch.setattr(checksums, "check_sizes", exchanged_once)
    if by == "open":
        gallery = Gallery.open(gallery.path)
    else:
        gallery.refresh()
    assert gallery.ids() == names(3)
