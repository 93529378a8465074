"""Compacting: deleted items leave the files, and nothing else changes."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from itr_deploy import Gallery, Matcher, Retriever
from itr_deploy.errors import GalleryBusyError, GalleryError
from itr_deploy.runtime.gallery import checksums, coarse_index, compacting, old_versions
from itr_deploy.runtime.gallery.compacting import FRAGMENTS, LOOKED, files_of, fill_of
from itr_deploy.runtime.gallery.files import table_root
from itr_deploy.runtime.gallery.held import read_all
from itr_deploy.runtime.gallery.old_versions import KEEP, versions
from itr_deploy.runtime.gallery.table import GalleryTable
from tests.support.items import captions, images, names
from tests.support.retrieval import assert_same

KINDS = [("image", "float16"), ("image", "int8"), ("text", "float32"), ("text", "float16")]
QUERIES = captions(3, seed=7)


def some(modality: str, count: int, seed: int = 0) -> Any:
    return images(count, seed=seed) if modality == "image" else captions(count, seed=seed)


def changed(gallery: Gallery, rounds: int = 12, seed: int = 0) -> None:
    """Change a gallery of at least 60 items a little, at random."""
    rng, modality = np.random.default_rng(seed), gallery.modality
    for number in range(rounds):
        ids = gallery.ids()
        chosen = [ids[place] for place in rng.choice(len(ids), 2, replace=False)]
        kind = rng.integers(4)
        new = some(modality, 2, seed=int(rng.integers(1 << 30)))
        if kind == 0:
            gallery.delete(chosen)
        elif kind == 1:
            gallery.update(chosen[:1], metadata={"year": [number]})
        else:
            given = [f"new{seed}-{number}", chosen[0]][: 1 + kind % 2]
            gallery.upsert(given, new[: len(given)], {"year": [number] * len(given)})


def made(place: Path, matcher: Matcher, kind: tuple[Any, Any] = KINDS[0]) -> Gallery:
    """A gallery with deleted items and small files, which no change joins."""
    gallery = Gallery.create(place, matcher, *kind, auto_compact=False)
    gallery.add(names(60), some(kind[0], 60), {"year": list(range(60))})
    changed(gallery)
    return gallery


def contents(gallery: Gallery) -> tuple[list[str], list[dict[str, Any]], list[np.ndarray]]:
    items = read_all(gallery)
    count, blocks = len(items.ids), items.encoded.blocks
    tensors = [block.tensors[name] for block in blocks for name in sorted(block.tensors)]
    described = list(items.describe(np.arange(count)))
    return items.ids.tolist(), described, [items.encoded.embedding, *tensors]


def assert_equal(found: tuple, expected: tuple) -> None:
    assert found[:2] == expected[:2]
    assert len(found[2]) == len(expected[2])
    for one, other in zip(found[2], expected[2], strict=True):
        np.testing.assert_array_equal(one, other)


def hits(matcher: Matcher, gallery: Gallery, resident: bool) -> list[tuple]:
    retriever = Retriever(matcher, gallery, resident=resident)
    asked: dict[str, Any] = {"query": QUERIES} if gallery.modality == "image" else {}
    found = retriever.search(**asked or {"image": images(3, seed=7)}, k=20, candidates=25)
    return [(one.ids, one.scores.tolist(), one.metadata) for one in found]


def files_with(gallery: Gallery, content: bytes) -> list[Path]:
    return [
        file
        for file in Path(gallery.path).rglob("*")
        if file.is_file() and content in file.read_bytes()
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_items_their_order_and_hits_are_the_same(
    kind: tuple[Any, Any], matcher: Matcher, tmp_path: Path
) -> None:
    gallery = made(tmp_path / "gallery", matcher, kind)
    for seed, keep in ((1, 0.0), (2, 100.0)):
        before, ids = contents(gallery), gallery.ids()
        found = [hits(matcher, gallery, resident) for resident in (True, False)]
        gallery.compact(keep)
        assert gallery.ids() == ids
        for opened in (gallery, Gallery.open(gallery.path, matcher)):
            assert_equal(contents(opened), before)
            assert [hits(matcher, opened, resident) for resident in (True, False)] == found
        gallery.verify()
        assert (fill_of(gallery.opened).fragments, fill_of(gallery.opened).deleted) == (1, 0)
        changed(gallery, 5, seed)


@pytest.mark.parametrize("kind", KINDS)
def test_no_file_holds_what_was_deleted(
    kind: tuple[Any, Any], matcher: Matcher, tmp_path: Path
) -> None:
    gallery = Gallery.create(tmp_path / "gallery", matcher, *kind)
    gallery.add(names(6), some(kind[0], 6))
    vectors = read_all(gallery).encoded.embedding
    deleted, replaced, stays = (vectors[place].tobytes() for place in (2, 4, 5))
    gallery.delete(["item0002"])
    gallery.update(["item0004"], some(kind[0], 1, seed=9))
    for content in (deleted, replaced, stays):
        # In several pieces, as a page may end in a vector.
        assert files_with(gallery, content[:64])
    assert gallery.compact(keep=0) == 4
    for content in (deleted, replaced):
        pieces = [content[start : start + 16] for start in range(0, len(content) - 16, 16)]
        assert [file for piece in pieces for file in files_with(gallery, piece)] == []
        assert files_with(gallery, b"item0002") == []
    assert files_with(gallery, stays[:64])


def test_all_items_deleted_leave_nothing(matcher: Matcher, tmp_path: Path) -> None:
    gallery = Gallery.create(tmp_path / "gallery", matcher)
    gallery.add(names(3), images(3))
    gallery.delete(names(3))
    gallery.compact(keep=0)
    assert gallery.ids() == []
    assert not list((table_root(gallery.path) / "data").iterdir())
    gallery.add(["a"], images(1))
    assert Gallery.open(gallery.path).ids() == ["a"]


def test_a_compacted_gallery_is_left_as_it_is(matcher: Matcher, tmp_path: Path) -> None:
    gallery = made(tmp_path / "gallery", matcher)
    gallery.compact(keep=0)
    identity, files = gallery.identity, files_of(gallery.opened)
    assert gallery.compact(keep=0) == 0
    assert (gallery.identity, files_of(gallery.opened)) == (identity, files)
    assert files.versions == 1


def test_small_files_are_joined_without_writing_the_large_one_anew(
    matcher: Matcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compacting, "SMALL_ROWS", 50)
    gallery = Gallery.create(tmp_path / "gallery", matcher, auto_compact=False)
    gallery.add(names(60), images(60))
    first = next(iter(gallery.opened.fragments().of.values()))  # type: ignore[union-attr]
    for number in range(5):
        gallery.add([f"new{number}"], images(1, seed=number))
    before = contents(gallery)
    gallery.compact()
    assert_equal(contents(gallery), before)
    fragments = gallery.opened.fragments()
    assert fragments is not None
    assert next(iter(fragments.of.values())) == first
    assert len(fragments.of) == 2


def test_a_coarse_index_covers_all_items_again(matcher: Matcher, tmp_path: Path) -> None:
    gallery = Gallery.create(tmp_path / "gallery", matcher)
    gallery.add(names(280), images(280))
    gallery.build_coarse_index()
    gallery.add(["late"], images(1, seed=1))
    gallery.delete(names(5))
    gallery.compact(keep=0)
    assert gallery.coarse_indexed == gallery.count() == 276
    gallery.verify()
    gallery.add(["later"], images(1, seed=2))
    gallery.compact(keep=0)
    assert Gallery.open(gallery.path).coarse_indexed == 277


def test_a_damaged_gallery_is_not_compacted(matcher: Matcher, tmp_path: Path) -> None:
    gallery = made(tmp_path / "gallery", matcher)
    file = max((table_root(gallery.path) / "data").iterdir(), key=lambda one: one.stat().st_size)
    content = bytearray(file.read_bytes())
    content[len(content) // 3] ^= 1
    file.write_bytes(content)
    version = gallery.version
    with pytest.raises(GalleryError, match="is not as it was written"):
        gallery.compact(keep=0)
    assert Gallery.open(gallery.path).version == version


# Readers and writers


@pytest.fixture
def reading(
    matcher: Matcher, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> tuple[Gallery, Retriever, Retriever]:
    """A gallery, and retrievers of it in memory and on disk."""
    gallery = made(tmp_path / "gallery", matcher)
    caplog.set_level(logging.INFO, "itr_deploy")
    retrievers = [
        Retriever(matcher, Gallery.open(gallery.path, matcher), resident=resident)
        for resident in (True, False)
    ]
    for retriever in retrievers:
        retriever.search("a dog")
    return gallery, retrievers[0], retrievers[1]


def test_who_holds_the_items_in_memory_reads_none_of_them_again(
    reading: tuple[Gallery, Retriever, Retriever], caplog: pytest.LogCaptureFixture
) -> None:
    gallery, memory, disk = reading
    before = [retriever.search("a dog", k=50, candidates=None) for retriever in (memory, disk)]
    gallery.compact(keep=0)
    caplog.clear()
    assert memory.search("a dog", k=50, candidates=None) == before[0]
    for retriever in (memory, disk):
        assert retriever.refresh()
    found = [retriever.search("a dog", k=50, candidates=None) for retriever in (memory, disk)]
    assert_same(found, before)
    assert caplog.text.count(": 0 read, 0 gone, ") == 2
    gallery.delete(gallery.ids()[:1])
    gallery.add(["late"], images(1, seed=8), {"year": [1]})
    gallery.compact(keep=0)
    caplog.clear()
    for retriever in (memory, disk):
        retriever.refresh()
    assert caplog.text.count(": 1 read, 1 gone, ") == 2
    found = [retriever.search("a dog", k=99, candidates=None) for retriever in (memory, disk)]
    assert found[0].ids == found[1].ids
    assert sorted(found[0].ids) == sorted(gallery.ids())


def test_without_word_of_the_moves_the_gallery_is_read_as_a_whole(
    reading: tuple[Gallery, Retriever, Retriever], caplog: pytest.LogCaptureFixture
) -> None:
    gallery, memory, _ = reading
    before = memory.search("a dog", k=50, candidates=None)
    gallery.compact(keep=0)
    for file in (table_root(gallery.path) / "_itr_deploy" / "moved").iterdir():
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 255
        file.write_bytes(content)
    caplog.clear()
    memory.refresh()
    assert " read, " not in caplog.text
    assert memory.search("a dog", k=50, candidates=None) == before


def test_searches_on_disk_go_on_until_their_version_is_removed(
    matcher: Matcher, tmp_path: Path
) -> None:
    gallery = made(tmp_path / "gallery", matcher)
    disk = Retriever(matcher, Gallery.open(gallery.path, matcher), resident=False)
    before = disk.search("a dog", k=20)
    snapshot = gallery.snapshot()
    gallery.compact()
    assert len(versions(table_root(gallery.path))) > 1
    assert disk.search("a dog", k=20) == before
    assert read_all(snapshot).ids.tolist() == gallery.ids()
    gallery.compact(keep=0)
    with pytest.raises(GalleryError, match=r"its version cleaned up.*; call refresh\(\)"):
        read_all(snapshot)
    disk.refresh()
    assert disk.search("a dog", k=20) == before


def test_another_writer_is_waited_for(matcher: Matcher, tmp_path: Path) -> None:
    gallery = made(tmp_path / "gallery", matcher)
    other = Gallery.open(gallery.path, lock_timeout=0.0)
    command = (
        "import sys; from itr_deploy import Gallery\n"
        "with Gallery.open(sys.argv[1]).writing(): print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", command, gallery.path], stdin=-1, stdout=-1
    ) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        with pytest.raises(GalleryBusyError, match=f"process {writer.pid} is writing"):
            other.compact(keep=0)
        writer.communicate()
    assert other.compact(keep=0) > 0


KILLED = """
import os, signal, sys
from itr_deploy import Gallery
from itr_deploy.runtime.gallery.table import GalleryTable

each = GalleryTable.each

def half(*arguments):
    for number, batch in enumerate(each(*arguments)):
        if number:
            os.kill(os.getpid(), signal.SIGKILL)
        yield batch

GalleryTable.each = half
Gallery.open(sys.argv[1]).compact(keep=0)
"""
STEPS = [
    *((GalleryTable, "renew"), (compacting, "_tell"), (coarse_index, "build")),
    *((compacting, "remove_old"), (old_versions, "_remove_unnamed"), (checksums, "record")),
]


def test_a_process_that_is_killed_at_any_step_leaves_a_whole_gallery(
    matcher: Matcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gallery = Gallery.create(tmp_path / "gallery", matcher)
    gallery.add(names(300), images(300), {"year": list(range(300))})
    gallery.build_coarse_index()
    gallery.delete(names(10))
    expected = contents(gallery)
    killed = Path(shutil.copytree(gallery.path, tmp_path / "killed"))
    done = subprocess.run([sys.executable, "-c", KILLED, str(killed)], check=False)
    assert done.returncode == -signal.SIGKILL
    left = [killed]
    for owner, name in STEPS:
        step = getattr(owner, name)

        def kept(*arguments: Any, step: Any = step, name: str = name, **options: Any) -> Any:
            """The step, before which the directory is as a process killed there leaves it."""
            if not (tmp_path / name).exists():
                left.append(Path(shutil.copytree(gallery.path, tmp_path / name)))
            return step(*arguments, **options)

        monkeypatch.setattr(owner, name, kept)
    gallery.compact(keep=0)
    monkeypatch.undo()
    assert len(left) == len(STEPS) + 1
    for place in left:
        opened = Gallery.open(place, matcher)
        assert_equal(contents(opened), expected)
        opened.add(["late"], images(1), {"year": [1]})
        opened.verify()
        opened.compact(keep=0)
        opened.verify()
        assert opened.coarse_indexed == opened.count() == 291, place
        assert len(list((place / "items.lance" / "data").iterdir())) <= 2, place


# By itself


def test_changes_join_what_they_have_added(matcher: Matcher, tmp_path: Path) -> None:
    galleries = [
        Gallery.create(tmp_path / str(auto), matcher, auto_compact=auto) for auto in (True, False)
    ]
    item = matcher.encode_images(images(1))
    for gallery in galleries:
        gallery.add(names(60), images(60))
        for number in range(FRAGMENTS + LOOKED):
            gallery.add([f"new{number}"], item)
    joined, left = (fill_of(gallery.opened) for gallery in galleries)
    assert left.fragments == FRAGMENTS + LOOKED + 1
    assert joined.fragments <= FRAGMENTS
    assert_equal(contents(galleries[0]), contents(galleries[1]))
    galleries[0].verify()


def test_versions_that_nobody_can_be_reading_are_removed_by_changes(
    matcher: Matcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compacting, "VERSIONS", 8)
    gallery = Gallery.create(tmp_path / "gallery", matcher)
    item = matcher.encode_images(images(1))
    for number in range(LOOKED - 2):
        gallery.add([f"a{number}"], item)
    for manifest in versions(table_root(gallery.path)).values():
        before = manifest.stat().st_mtime - KEEP - 1
        os.utime(manifest, (before, before))
    gallery.add(["b"], item)
    gallery.add(["c"], item)
    kept = len(versions(table_root(gallery.path)))
    assert kept <= 3
    assert gallery.count() == LOOKED
    gallery.verify()


def test_a_small_gallery_of_which_much_was_deleted_is_written_anew(
    matcher: Matcher, tmp_path: Path
) -> None:
    gallery = Gallery.create(tmp_path / "gallery", matcher)
    gallery.add(names(60), images(60))
    for number in range(30):
        gallery.delete([f"item{number:04d}"])
    assert fill_of(gallery.opened).deleted < 20
    assert gallery.ids() == names(60)[30:]


def test_what_a_full_disk_keeps_from_being_joined_is_left(
    matcher: Matcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    def full(*_: Any) -> None:
        raise GalleryError("no space left")

    monkeypatch.setattr(GalleryTable, "fragments", full)
    gallery = Gallery.create(tmp_path / "gallery", matcher)
    item = matcher.encode_images(images(1))
    for number in range(LOOKED):
        gallery.add([f"a{number}"], item)
    assert "small files are left as they are: no space left" in caplog.text
    assert gallery.count() == LOOKED
