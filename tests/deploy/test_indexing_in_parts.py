"""A gallery that processes make in parts is the one that a single process makes."""

from __future__ import annotations

import json
import math
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import itr_deploy
from itr_deploy import Gallery, Matcher, Retriever
from itr_deploy.bundle.leftovers import is_leftover
from itr_deploy.errors import (
    GalleryBusyError,
    GalleryError,
    InputError,
    OutputError,
    SetupError,
    UsageError,
)
from itr_deploy.runtime.encoding.sources import TOGETHER
from itr_deploy.runtime.gallery.bulk import joining
from tests.support.command import itr_deploy as command
from tests.support.command import python
from tests.support.duals import GRID, export_words
from tests.support.exports import Bundles
from tests.support.extractors import extracted, row, table
from tests.support.files import tree
from tests.support.golden import TEXT
from tests.support.items import WIDTH, captions
from tests.support.lhsc import LHSC
from tests.support.parts import assert_equal, commit, make, place_of
from tests.support.region_cases import BUA_CAFFE
from tests.support.tiny_detector import tiny_detector_of

COUNT = 4 * TOGETHER + 9
"""Five groups of items that are encoded together."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A split, a table of the same pictures with boxes, and a column without a value in its first
    half.
    """
    root = tmp_path_factory.mktemp("world")
    # The first half alone is not ragged.
    sizes = [3] * (COUNT // 2) + [1 + number % 3 for number in range(COUNT - COUNT // 2)]
    items = extracted(sizes, width=WIDTH)
    table(root / "r.tsv", [row(item) for item in items])
    itr_deploy.convert(root / "r.tsv", output=root / "data")
    (root / "data" / "test_caps.txt").write_text("\n".join(captions(COUNT)) + "\n")
    half = COUNT // 2
    lines = [
        f"{item.id},{number if number > half else ''},{number}" for number, item in enumerate(items)
    ]
    (root / "columns.csv").write_text("id,late,price\n" + "\n".join(lines) + "\n")
    return root


@pytest.fixture
def call(world: Path, bundle: Path, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """The arguments of a call, of what lies in the world."""

    def arguments(**given: Any) -> dict[str, Any]:
        paths = ("data", "features", "metadata")
        own = {name: str(world / value) for name, value in given.items() if name in paths}
        return {"bundle": str(bundle), "output": str(tmp_path / "gallery"), **given, **own}

    return arguments


SOURCES = {
    "ragged, boxes, columns": {"features": "r.tsv", "metadata": "columns.csv"},
    "split, int8": {"data": "data", "storage": "int8"},
    "captions": {"data": "data", "modality": "text", "storage": "float32"},
}


@pytest.mark.parametrize("source", SOURCES)
def test_parts_become_the_gallery_that_one_process_makes(
    source: str, call: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    given = call(**SOURCES[source])
    made = make(given, 3, 2, 0, 1)
    assert not Path(given["output"]).exists()
    assert [one.items for one in made] == [TOGETHER + 9, TOGETHER, 2 * TOGETHER]
    done = commit(given)
    assert (done.items, done.added, done.broken) == (COUNT, COUNT, {})
    assert_equal(given, tmp_path / "whole")
    matcher = Matcher.load(given["bundle"])
    images = done.modality == "image"
    query = "a dog" if images else np.ones((4, WIDTH), np.float32)
    hits, expected = (
        Retriever(matcher, Gallery.open(path, matcher)).search(query, k=20)
        if images
        else Retriever(matcher, Gallery.open(path, matcher)).search(image=query, k=20)
        for path in (given["output"], tmp_path / "whole")
    )
    assert [(hit.id, hit.score) for hit in hits] == [(hit.id, hit.score) for hit in expected]


@pytest.mark.slow
@pytest.mark.full
def test_texts_that_are_padded_together_stay_together(bundles: Bundles, tmp_path: Path) -> None:
    padded = bundles.of(*LHSC.export_words, "--text-padding", "published")
    together = math.lcm(TOGETHER, Matcher.load(padded).bundle.manifest.texts.padded_together or 0)
    data = tmp_path / "data"
    data.mkdir()
    (data / "test_caps.txt").write_text("\n".join(captions(together + 99)) + "\n")
    np.save(data / "test_ims.npy", np.ones((together + 99, 1, 32), np.float32))
    given = {
        "bundle": str(padded),
        "data": str(data),
        "modality": "text",
        "output": str(tmp_path / "gallery"),
    }
    make(given, 2)
    commit(given)
    assert_equal(given, tmp_path / "whole")


def test_the_gallery_is_one_like_any_other(
    call: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    given = call(data="data", storage="float16")
    make(given, 2)
    commit(given, coarse_index=True)
    matcher = Matcher.load(given["bundle"])
    gallery = Gallery.open(given["output"], matcher)
    assert gallery.coarse_indexed == COUNT
    name = gallery.ids()[0]
    gallery.delete([name])
    gallery.add([name], np.ones((1, 3, WIDTH), np.float32))
    gallery.verify()
    assert gallery.count() == COUNT


STOPPED = """
import json, os, signal, sys
import itr_deploy
from itr_deploy.runtime.gallery import parts
parts.SECONDS = parts.SHARE = 0.0
def progress(done, total):
    if done >= int(sys.argv[1]):
        os.kill(os.getpid(), signal.SIGKILL)
itr_deploy.index(**json.loads(sys.argv[2]), progress=progress)
"""


def test_a_part_that_was_killed_is_gone_on_with(
    call: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    given = call(features="r.tsv", metadata="columns.csv")
    asked = json.dumps({**given, "parts": 2, "part": 1})
    words = [sys.executable, "-c", STOPPED, str(2 * TOGETHER), asked]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    (left,) = [path for path in place_of(given).root.iterdir() if is_leftover(path.name)]
    assert Gallery.open(left).count() == TOGETHER
    told: list[tuple[int, int]] = []
    itr_deploy.index(**given, parts=2, part=1, progress=lambda *at: told.append(at))
    assert told[0] == (TOGETHER, 2 * TOGETHER + 9)
    make(given, 2, 0)
    commit(given)
    assert_equal(given, tmp_path / "whole")


@pytest.fixture
def made(call: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    """A call of which both parts are made."""
    given = call(data="data")
    make(given, 2)
    return given


def test_a_part_that_is_finished_is_not_made_again(made: dict[str, Any]) -> None:
    before = tree(place_of(made).part(1))
    again = itr_deploy.index(**made, parts=2, part=1)
    assert (again.items, tree(place_of(made).part(1))) == (2 * TOGETHER + 9, before)


def test_two_processes_do_not_make_the_same_part(call: Callable[..., dict[str, Any]]) -> None:
    given = call(data="data")
    with place_of(given).locked("it", "00001", 0.0), ThreadPoolExecutor(1) as pool:
        other = pool.submit(itr_deploy.index, **given, parts=2, part=1, lock_timeout=0.0)
        with pytest.raises(GalleryBusyError, match=r"part 1 of .*gallery: another thread"):
            other.result()
    assert [one.items for one in make(given, 2)] == [128, 137]


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"storage": "int8"}, "made with storage= (--storage) float16, not int8"),
        ({"parts": 3}, "made with parts= (--parts) 2, not 3"),
        ({"features": "r.tsv", "data": None}, "made with files "),
        ({"metadata": "columns.csv"}, "made with columns "),
        ({"backend": "onnxruntime"}, "made with backend auto, not onnxruntime"),
        ({"modality": "text"}, "made with modality= (--modality) image, not text"),
    ],
)
def test_parts_of_something_else_are_refused(
    other: dict[str, Any], said: str, call: Callable[..., dict[str, Any]]
) -> None:
    first = {"data": "data"}
    make(call(**first), 2, 0)
    given = {name: value for name, value in {**first, **other}.items() if value is not None}
    parts = given.pop("parts", 2)
    with pytest.raises(GalleryError) as caught:
        make(call(**given), parts, 1)
    assert said in str(caught.value)
    assert "or remove" in str(caught.value)


def test_another_bundles_commit_is_refused(made: dict[str, Any], bundles: Bundles) -> None:
    with pytest.raises(GalleryError, match="made with another bundle"):
        commit({**made, "bundle": str(bundles.path(TEXT))})


def test_a_missing_part_is_named_with_what_makes_it(call: Callable[..., dict[str, Any]]) -> None:
    given = call(data="data")
    make(given, 4, 0, 2)
    with pytest.raises(GalleryError, match=r"2 of 4 parts are not finished: 1, 3; make each with"):
        commit(given)
    make(given, 4, 1, 3)
    assert commit(given).items == COUNT


def test_a_commit_without_parts_is_refused(call: Callable[..., dict[str, Any]]) -> None:
    with pytest.raises(GalleryError, match="no parts are there"):
        commit(call(data="data"))


def harm(part: Path) -> None:
    largest = max((part / "items.lance" / "data").iterdir(), key=lambda file: file.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 1
    largest.write_bytes(content)


def test_a_damaged_part_is_named_and_made_again(
    made: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    harm(place_of(made).part(1))
    with pytest.raises(GalleryError, match=r"part-00001: damaged: .* make it again with part=1"):
        commit(made)
    assert not Path(made["output"]).exists()
    make(made, 2, 1)
    assert "it is made again" in caplog.text
    commit(made)
    assert_equal(made, tmp_path / "whole")


def test_the_same_ids_in_two_parts_are_refused(
    world: Path, call: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    np.save(data / "test_ims.npy", np.ones((4 * TOGETHER, 3, WIDTH), np.float32))
    given = call(data="data", storage="float16") | {"data": str(data)}
    make(given, 2)
    first, second = (place_of(given).part(number) for number in (0, 1))
    shutil.rmtree(second)
    shutil.copytree(first, second)
    record = json.loads((second / "part.json").read_text())
    (second / "part.json").write_text(json.dumps({**record, "part": 1}))
    with pytest.raises(GalleryError, match="id '0' is in two parts"):
        commit(given)


def test_an_id_given_twice_is_refused_before_any_part(
    call: Callable[..., dict[str, Any]], world: Path, tmp_path: Path
) -> None:
    data = Path(shutil.copytree(world / "data", tmp_path / "data"))
    ids = (data / "test_ids.txt").read_text().splitlines()
    (data / "test_ids.txt").write_text("\n".join([*ids[:-1], ids[0]]) + "\n")
    with pytest.raises(InputError, match="twice"):
        make({**call(data="data"), "data": str(data)}, 2, 0)


def test_an_existing_gallery_stays_until_the_commit_replaces_it(
    made: dict[str, Any], tmp_path: Path
) -> None:
    commit(made)
    before = tree(Path(made["output"]))
    with pytest.raises(OutputError, match="exists; give force=True"):
        make(made, 2, 0)
    make({**made, "force": True, "storage": "int8"}, 2)
    assert tree(Path(made["output"])) == before
    with pytest.raises(OutputError, match="exists; give force=True"):
        commit(made)
    commit(made, force=True)
    assert Gallery.open(made["output"]).description.storage == "int8"


def test_a_commit_that_was_killed_before_it_tidied_up_is_not_made_twice(
    made: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("itr_deploy.deploy.bulk.bulk.Place.remove", lambda place: None)
    commit(made)
    identity = Gallery.open(made["output"]).identity
    monkeypatch.undo()
    shutil.rmtree(place_of(made).part(0))
    done = commit(made)
    assert (done.items, Gallery.open(made["output"]).identity) == (COUNT, identity)
    assert not place_of(made).root.exists()


KILLED_COMMIT = """
import os, signal, sys
import itr_deploy
from itr_deploy.runtime.gallery import checksums
checksums.take_over = lambda root, sources: os.kill(os.getpid(), signal.SIGKILL)
itr_deploy.index(sys.argv[1], output=sys.argv[2], commit=True)
"""


def test_a_commit_that_was_killed_has_changed_nothing_and_is_made_again(
    made: dict[str, Any], tmp_path: Path
) -> None:
    assert python(KILLED_COMMIT, made["bundle"], made["output"]).code == -signal.SIGKILL
    assert not Path(made["output"]).exists()
    assert commit(made).items == COUNT
    assert_equal(made, tmp_path / "whole")
    assert [path for path in tmp_path.iterdir() if is_leftover(path.name)] == []


def test_without_hard_links_the_files_are_copied(
    made: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*paths: Path) -> None:
        raise OSError("no links here")

    monkeypatch.setattr("itr_deploy.runtime.gallery.bulk.joining.os.link", refuse)
    commit(made)
    assert_equal(made, tmp_path / "whole")


def test_a_full_disk_at_the_commit_leaves_the_parts(
    made: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*paths: Path) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("itr_deploy.runtime.gallery.bulk.joining.os.link", full)
        patched.setattr("itr_deploy.runtime.gallery.bulk.joining.shutil.copyfile", full)
        with pytest.raises(OutputError, match="No space left"):
            commit(made)
    assert not Path(made["output"]).exists()
    assert commit(made).items == COUNT


def test_pictures_that_are_broken_are_told_of_all_parts(bundles: Bundles, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(40):
        Image.new("RGB", (20, 30), (number, 0, 0)).save(photos / f"{number:02}.png")
    for name in ("03.png", "37.png"):
        (photos / name).write_bytes(b"not a picture")
    bundle = str(bundles.of(*export_words(GRID)))
    given = {"bundle": bundle, "pictures": str(photos), "output": str(tmp_path / "gallery")}
    first, second = make(given, 2)
    assert (first.broken.keys(), second.broken.keys()) == ({"03.png"}, {"37.png"})
    outcome = command("index", bundle, "--output", given["output"], "--commit")
    assert outcome.code == 1
    assert "2 of 40 pictures cannot be used and are not in the gallery" in outcome.error
    assert "37.png" in outcome.err
    assert_equal(given, tmp_path / "whole")


def test_pictures_for_a_detector_keep_their_boxes(
    bundles: Bundles, bundle: Path, tmp_path: Path
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for path in BUA_CAFFE.pictures:
        shutil.copy(path, photos)
    (photos / "cut.png").write_bytes(b"not a picture")
    given = {
        "bundle": str(bundle),
        "pictures": str(photos),
        "detector": str(tiny_detector_of(bundles, feature_dim=WIDTH)),
        "output": str(tmp_path / "gallery"),
    }
    make(given, 2)
    assert commit(given).broken.keys() == {"cut.png"}
    assert_equal(given, tmp_path / "whole")
    assert Gallery.open(given["output"]).boxes(["0.png"])[0] is not None


def test_a_folder_without_a_picture_that_can_be_used_is_refused_at_the_commit(
    bundles: Bundles, tmp_path: Path
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(40):
        (photos / f"{number:02}.png").write_bytes(b"not a picture")
    bundle = str(bundles.of(*export_words(GRID)))
    given = {"bundle": bundle, "pictures": str(photos), "output": str(tmp_path / "gallery")}
    make(given, 2)
    with pytest.raises(InputError, match="none of 40 pictures can be used"):
        commit(given)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"parts": 2}, "which one"),
        ({"part": 0}, "one of parts="),
        ({"parts": 2, "part": 2}, "must be from 0 to 1"),
        ({"parts": 99, "part": 0}, "make 5 groups of 64 that are encoded together; give 5 or less"),
        ({"parts": 2, "part": 0, "append": True}, "extends a gallery in one go"),
        ({"parts": 2, "part": 0, "commit": True}, "takes all parts that were made"),
        ({"commit": True}, r"leave data= \(--data\) out"),
        ({"actors": 2}, "of Ray's actors"),
        ({"ray": "local", "parts": 2, "part": 0}, "made by this process"),
    ],
)
def test_what_does_not_go_together_is_refused(
    asked: dict[str, Any], said: str, call: Callable[..., dict[str, Any]]
) -> None:
    given = call(data="data")
    with pytest.raises(UsageError, match=said):
        itr_deploy.index(**given, **asked)
    assert not place_of(given).root.exists()


def test_the_command_makes_parts_and_commits(made: dict[str, Any]) -> None:
    words = ("index", made["bundle"], "--output", made["output"])
    part = command(*words, "--data", made["data"], "--parts", 2, "--part", 0)
    assert part.code == 0, part.err
    assert part.out == f"part 0 of 2: {place_of(made).part(0)} ({2 * TOGETHER} images)\n"
    whole = command(*words, "--commit")
    assert (whole.code, whole.out) == (0, f"gallery: {made['output']} ({COUNT} images)\n")


def test_parts_need_no_pylance_and_the_commit_says_what_it_needs(
    made: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "lance", None)
    with pytest.raises(SetupError, match=r"pip install 'itr-deploy\[parts\]'"):
        commit(made)
    code = """
import json, sys
import itr_deploy
itr_deploy.index(**json.loads(sys.argv[1]), parts=2, part=0)
print("loaded:", sorted({"lance", "ray", "torch"} & sys.modules.keys()))
"""
    outcome = python(code, json.dumps(made))
    assert outcome.out == "loaded: []\n", outcome.err


def test_pylance_writes_the_format_that_lancedb_writes(made: dict[str, Any]) -> None:
    lance = joining._library()
    stored = place_of(made).part(0) / "items.lance"
    by_lancedb = lance.dataset(str(stored)).data_storage_version
    commit(made)
    joined = lance.dataset(str(Path(made["output"]) / "items.lance"))
    assert joined.data_storage_version == by_lancedb
