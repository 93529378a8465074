"""A gallery that another one replaces, in the place where it lies, while it is open."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import lancedb
import numpy as np
import pytest

from itr_deploy import Gallery, Matcher, Retriever
from itr_deploy.bundle.manifest import Manifest
from itr_deploy.bundle.store import write_manifest
from itr_deploy.errors import GalleryError
from itr_deploy.runtime.gallery.files import names as names_file
from itr_deploy.runtime.gallery.files import stored_files
from itr_deploy.runtime.gallery.layout import ID_KEY, TABLE
from tests.support.items import captions, images, names


def made(
    place: Path, matcher: Matcher, prefix: str, count: int = 20, modality: Any = "image"
) -> Gallery:
    gallery = Gallery.create(place, matcher, modality)
    items = images(count, seed=len(prefix)) if modality == "image" else captions(count)
    gallery.add(names(count, prefix), items, {"number": list(range(count))})
    return gallery


def replace(place: Path, by: Path) -> None:
    """As `index --force` does."""
    place.rename(place.parent / "was")
    by.rename(place)
    shutil.rmtree(place.parent / "was")


@pytest.fixture
def exchanged(matcher: Matcher, tmp_path: Path) -> Any:
    """Exchange a gallery for a new one of the same number of items and versions."""
    old = made(tmp_path / "gallery", matcher, "old")

    def exchange() -> None:
        new = made(tmp_path / "new", matcher, "newer")
        assert new.version == old.version
        replace(tmp_path / "gallery", tmp_path / "new")

    return old.path, exchange


@pytest.mark.parametrize("resident", [True, False])
def test_a_refresh_finds_the_new_items(resident: bool, exchanged: Any, matcher: Matcher) -> None:
    path, exchange = exchanged
    retriever = Retriever.load(matcher.bundle.path, path, resident=resident)
    before = retriever.search("a dog", k=30, candidates=None)
    assert {name[:3] for name in before.ids} == {"old"}
    exchange()
    retriever.refresh()
    for options in ({"candidates": None}, {"candidates": 30}, {"where": "number >= 0"}):
        hits = retriever.search("a dog", k=30, **options)
        assert sorted(hits.ids) == names(20, "newer")
    fresh = Retriever.load(matcher.bundle.path, path, resident=resident)
    assert retriever.search("a dog", k=30) == fresh.search("a dog", k=30)
    assert sorted(retriever.gallery.ids()) == names(20, "newer")


def test_without_a_refresh_it_is_the_old_items_in_memory_and_one_clear_line_on_disk(
    exchanged: Any, matcher: Matcher
) -> None:
    path, exchange = exchanged
    kept = Retriever.load(matcher.bundle.path, path, resident=True)
    on_disk = Retriever.load(matcher.bundle.path, path, resident=False)
    unused = Retriever.load(matcher.bundle.path, path)
    before = kept.search("a dog", k=5)
    on_disk.search("a dog", k=5)
    exchange()
    assert kept.search("a dog", k=5) == before
    for search in (
        lambda: on_disk.search("a dog", k=5),
        lambda: kept.search("a dog", k=5, where="number = 1"),
        lambda: unused.search("a dog"),
    ):
        with pytest.raises(GalleryError, match=r"was replaced .*; call refresh\(\)"):
            search()
    for retriever in (kept, on_disk, unused):
        retriever.refresh()
        assert retriever.search("a dog", k=1).ids[0].startswith("newer")


def test_copies_that_went_on_by_themselves_are_told_apart(matcher: Matcher, tmp_path: Path) -> None:
    one = made(tmp_path / "gallery", matcher, "old")
    shutil.copytree(one.path, tmp_path / "copy")
    other = Gallery.open(tmp_path / "copy", matcher)
    one.add(["one"], images(1))
    other.add(["other"], images(1))
    assert one.version == other.version
    assert one.identity.gallery == other.identity.gallery
    retriever = Retriever(matcher, one)
    assert "one" in retriever.search("a dog", k=30, candidates=None).ids
    replace(tmp_path / "gallery", tmp_path / "copy")
    retriever.refresh()
    assert "other" in retriever.search("a dog", k=30, candidates=None).ids


def test_galleries_of_older_releases_have_no_id_and_are_told_apart(
    matcher: Matcher, tmp_path: Path
) -> None:
    for name in ("gallery", "new"):
        whole = made(tmp_path / f"made-{name}", matcher, name)
        arrow = whole.table.to_arrow()
        about = {key: value for key, value in arrow.schema.metadata.items() if key != ID_KEY}
        old = lancedb.connect(tmp_path / name)
        old.create_table(TABLE, data=arrow.replace_schema_metadata(about))
    gallery = Gallery.open(tmp_path / "gallery", matcher)
    before = gallery.identity
    assert before.gallery == ""
    retriever = Retriever(matcher, gallery)
    assert retriever.search("a dog", k=1).ids[0].startswith("gallery")
    replace(tmp_path / "gallery", tmp_path / "new")
    retriever.refresh()
    assert gallery.identity.version == before.version
    assert retriever.search("a dog", k=1).ids[0].startswith("new")


def test_a_gallery_of_another_bundle_or_modality_is_refused_and_the_old_one_stays(
    matcher: Matcher, bundle_copy: Path, tmp_path: Path
) -> None:
    content = json.loads((bundle_copy / "manifest.json").read_bytes())
    del content["checksum"]
    content["encoding_id"] = "f" * 64
    write_manifest(bundle_copy, Manifest.model_validate_json(json.dumps(content)))
    for number, (new, words) in enumerate(
        (
            (
                lambda place: made(place, Matcher.load(bundle_copy), "new"),
                "made with another bundle",
            ),
            (lambda place: made(place, matcher, "new", modality="text"), "a gallery of texts"),
        )
    ):
        root = tmp_path / str(number)
        root.mkdir()
        handle = made(root / "gallery", matcher, "old")
        retriever = Retriever(matcher, Gallery.open(handle.path))
        before = retriever.search("a dog", k=3)
        new(root / "new")
        replace(root / "gallery", root / "new")
        with pytest.raises(GalleryError, match=words):
            retriever.refresh()
        assert retriever.search("a dog", k=3) == before
        # Nothing of one kind is written into the other.
        with pytest.raises(GalleryError, match=r"in (its|the) place"):
            handle.add(["more"], images(1))
        with pytest.raises(GalleryError, match=r"in (its|the) place"):
            handle.delete(["old0001"])


def test_a_handle_writes_to_the_gallery_that_is_there(exchanged: Any, matcher: Matcher) -> None:
    path, exchange = exchanged
    handle = Gallery.open(path, matcher)
    exchange()
    handle.add(["more"], images(1))
    assert sorted(handle.ids()) == ["more", *names(20, "newer")]


def test_a_gallery_that_is_gone_is_one_clear_line(exchanged: Any, matcher: Matcher) -> None:
    path, _ = exchanged
    retriever = Retriever.load(matcher.bundle.path, path, resident=False)
    shutil.rmtree(path)
    with pytest.raises(GalleryError, match="no such gallery"):
        retriever.refresh()
    with pytest.raises(GalleryError, match="was replaced"):
        retriever.search("a dog")
    with pytest.raises(GalleryError, match="no such gallery"):
        Gallery.open(path, matcher)


def test_manifests_name_every_file_of_a_gallery(matcher: Matcher, tmp_path: Path) -> None:
    """What is cleaned up after a failure, and what is verified, is found by this."""
    gallery = made(tmp_path / "gallery", matcher, "a", count=300)
    gallery.update(["a0001"], images(1))
    gallery.delete(["a0002"])
    gallery.build_coarse_index()
    root = Path(gallery.path) / f"{TABLE}.lance"
    manifests = [file.read_bytes() for file in (root / "_versions").glob("*.manifest")]
    found = [file for file in stored_files(root) if file.parts[0] != "_versions"]
    assert {file.parts[0] for file in found} == {"data", "_deletions", "_indices"}
    for file in found:
        assert any(names_file(manifest, file) for manifest in manifests), file
    number = np.random.default_rng(0).integers(2**63)
    for other in (
        "data/abc.lance",
        f"_deletions/0-1-{number}.arrow",
        "_indices/" + "0" * 32 + "/a",
    ):
        assert not any(names_file(manifest, Path(other)) for manifest in manifests)
