"""Stored bytes that change are found by verify, and at load found or without effect."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import itr_deploy
from itr_deploy import Gallery, Matcher, Retriever
from itr_deploy.errors import GalleryError
from itr_deploy.runtime.gallery import recorded
from itr_deploy.runtime.gallery.files import OWN, manifest_path, names, stored_files
from itr_deploy.runtime.gallery.held import read_all
from itr_deploy.runtime.gallery.layout import TABLE
from tests.support.items import captions, images
from tests.support.items import names as item_names

COUNT = 280


@pytest.fixture(scope="module", params=["image", "text"])
def whole(
    request: pytest.FixtureRequest, matcher: Matcher, tmp_path_factory: pytest.TempPathFactory
) -> Gallery:
    """A gallery with files of every kind; not to be changed."""
    place = tmp_path_factory.mktemp("whole") / "gallery"
    gallery = Gallery.create(place, matcher, request.param)
    items = images(COUNT) if request.param == "image" else captions(COUNT)
    gallery.add(item_names(COUNT), items, {"year": list(range(COUNT)), "word": ["a"] * COUNT})
    gallery.update(item_names(2), metadata={"word": ["b", "c"]})
    gallery.delete(item_names(9)[5:])
    gallery.build_coarse_index()
    return gallery


def read_files(gallery: Gallery) -> list[str]:
    """The files that the gallery's current version reads."""
    root = Path(gallery.path) / f"{TABLE}.lance"
    manifest = manifest_path(root, gallery.version)
    assert manifest is not None
    named = [
        file.as_posix()
        for file in stored_files(root)
        if file.parts[0] != "_versions" and names(manifest.read_bytes(), file)
    ]
    return [*named, manifest.relative_to(root).as_posix(), f"{OWN}/checksums.json"]


def damage(file: Path, rng: np.random.Generator) -> None:
    content = bytearray(file.read_bytes())
    kind = rng.integers(4)
    at = int(rng.integers(len(content)))
    if kind == 0:
        content[at] ^= 1 << int(rng.integers(8))
    elif kind == 1:
        content[at : at + 16] = rng.bytes(min(16, len(content) - at))
        content[at] ^= 1
    elif kind == 2:
        del content[at:]
    else:
        content[at:at] = rng.bytes(8)
    file.write_bytes(content)


def answers(gallery: str | Path, matcher: Matcher, resident: bool) -> Any:
    retriever = Retriever.load(matcher.bundle.path, gallery, resident=resident)
    query: Any = (
        {"query": "a dog"} if retriever.gallery.modality == "image" else {"image": images(1)[0]}
    )
    return [
        retriever.search(**query, k=5, candidates=20),
        retriever.search(**query, k=5, candidates=None, where="year < 100 and word <> 'b'"),
    ]


def test_a_gallery_as_it_was_written_is_verified(whole: Gallery) -> None:
    verified = whole.verify()
    assert verified.files == len(read_files(whole)) - 1
    shown = itr_deploy.inspect(whole.path, verify=True)
    assert shown["verified"] == {"files": verified.files, "bytes": verified.bytes}
    assert "verified" not in itr_deploy.inspect(whole.path)


def test_damage_of_every_file_is_found(whole: Gallery, matcher: Matcher, tmp_path: Path) -> None:
    """In memory; on disk a damage that changes no size is verify's to find."""
    rng = np.random.default_rng(5)
    right = answers(whole.path, matcher, resident=True)
    for number, name in enumerate(read_files(whole) * 4):
        copy = tmp_path / str(number)
        shutil.copytree(whole.path, copy)
        damage(copy / f"{TABLE}.lance" / name, rng)
        with pytest.raises(GalleryError, match="damaged: ") as caught:
            itr_deploy.inspect(copy, verify=True)
        assert "\n" not in str(caught.value)
        with pytest.raises(GalleryError, match="damaged: "):
            answers(copy, matcher, resident=True)
        with suppress(GalleryError):
            answers(copy, matcher, resident=False)
        shutil.rmtree(copy)
    assert answers(whole.path, matcher, resident=True) == right


@pytest.mark.parametrize("content", [b"", b"{", b'{"version":1}', b"\xff" * 40, None])
def test_lancedbs_hint_of_the_latest_version_decides_nothing(
    content: bytes | None, whole: Gallery, matcher: Matcher, tmp_path: Path
) -> None:
    shutil.copytree(whole.path, tmp_path / "copy")
    hint = tmp_path / "copy" / f"{TABLE}.lance" / "_versions" / "latest_version_hint.json"
    assert hint.is_file()
    hint.unlink()
    if content is not None:
        hint.write_bytes(content)
    assert Gallery.open(tmp_path / "copy").version == whole.version


def test_a_file_that_is_missing_is_found(whole: Gallery, matcher: Matcher, tmp_path: Path) -> None:
    for number, name in enumerate(read_files(whole)[:-1]):
        copy = tmp_path / str(number)
        shutil.copytree(whole.path, copy)
        (copy / f"{TABLE}.lance" / name).unlink()
        if not name.startswith("_versions"):
            with pytest.raises(GalleryError, match="damaged: "):
                Gallery.open(copy).verify()
        shutil.rmtree(copy)


def test_a_gallery_without_checksums_opens_and_says_that_it_cannot_be_verified(
    whole: Gallery, matcher: Matcher, tmp_path: Path
) -> None:
    shutil.copytree(whole.path, tmp_path / "old")
    shutil.rmtree(tmp_path / "old" / f"{TABLE}.lance" / OWN)
    assert answers(tmp_path / "old", matcher, True) == answers(whole.path, matcher, True)
    with pytest.raises(GalleryError, match=r"cannot be verified: an older .*; index it again"):
        itr_deploy.inspect(tmp_path / "old", verify=True)
    Gallery.open(tmp_path / "old").delete(item_names(1))
    assert Gallery.open(tmp_path / "old").verify().files > 0


def test_a_change_whose_writer_was_stopped_before_its_checksums_is_said_and_mended_by_the_next(
    whole: Gallery, matcher: Matcher, tmp_path: Path
) -> None:
    shutil.copytree(whole.path, tmp_path / "copy")
    gallery = Gallery.open(tmp_path / "copy", matcher)
    gallery.table.delete("id = 'item0010'")
    gallery.refresh()
    with pytest.raises(GalleryError, match=r"of \d+ files have no checksum"):
        gallery.verify()
    assert len(read_all(gallery).ids) == gallery.count()
    gallery.delete(["item0011"])
    gallery.verify()


def test_checksums_follow_every_change(matcher: Matcher, tmp_path: Path) -> None:
    gallery = Gallery.create(tmp_path / "gallery", matcher)
    gallery.verify()
    for change in (
        lambda: gallery.add(item_names(3), images(3), {"year": [1, 2, 3]}),
        lambda: gallery.add(["more"], images(1)),
        lambda: gallery.update(["more"], images(1, seed=1)),
        lambda: gallery.update(["more"], metadata={"year": [7]}),
        lambda: gallery.delete(item_names(2)),
        gallery.build_coarse_index,
        lambda: gallery.delete(["more", "item0002"]),
        lambda: gallery.add(["other"], images(1, regions=7), {"word": ["x"]}),
    ):
        change()
        assert gallery.verify().files >= 1
        assert Gallery.open(gallery.path).verify() == gallery.verify()


@pytest.mark.parametrize("name", ["items.lance/_itr_deploy/checksums.json", "items.lance/x"])
def test_what_is_no_regular_file_is_never_read(name: str, matcher: Matcher, tmp_path: Path) -> None:
    """Reading it would not end."""
    gallery = Gallery.create(tmp_path / "gallery", matcher)
    gallery.add(["a"], images(1))
    path = tmp_path / "gallery" / name
    path.unlink(missing_ok=True)
    path.symlink_to("/dev/zero")
    with pytest.raises(GalleryError, match=r"is not a regular file; restore it"):
        Gallery.open(tmp_path / "gallery")


def test_a_gallery_without_its_newest_state_is_damaged(matcher: Matcher, tmp_path: Path) -> None:
    """As a partial copy is; without the check it opens as it was before."""
    gallery = Gallery.create(tmp_path / "gallery", matcher)
    gallery.add(item_names(4), images(4))
    root = tmp_path / "gallery" / "items.lance"
    manifest_path(root, gallery.version).unlink()  # type: ignore[union-attr]
    for call in (lambda: Gallery.open(gallery.path), gallery.refresh):
        with pytest.raises(GalleryError, match=r"_versions/.* is missing, the gallery's newest"):
            call()


def test_a_line_that_was_cut_off_with_its_writer_is_written_again(
    matcher: Matcher, tmp_path: Path
) -> None:
    gallery = Gallery.create(tmp_path / "gallery", matcher)
    gallery.add(item_names(4), images(4))
    log = tmp_path / "gallery" / f"{TABLE}.lance" / OWN / "checksums.log"
    log.write_bytes(log.read_bytes()[:-30])
    with pytest.raises(GalleryError, match="no checksum"):
        gallery.verify()
    gallery.add(["more"], images(1))
    gallery.verify()
    gallery.delete(["more"])
    lines = log.read_bytes().replace(b'"', b"'", 1)
    log.write_bytes(lines)
    with pytest.raises(GalleryError, match=r"checksums.json cannot be read"):
        gallery.verify()


def test_many_changes_are_folded_into_one_record(
    matcher: Matcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorded, "FOLDED", 3)
    gallery = Gallery.create(tmp_path / "gallery", matcher)
    for number in range(6):
        gallery.add([f"a{number}"], images(1))
        gallery.verify()
    log = tmp_path / "gallery" / f"{TABLE}.lance" / OWN / "checksums.log"
    assert not log.exists() or len(log.read_bytes().splitlines()) <= 4
    assert Gallery.open(gallery.path).verify().files == 7
