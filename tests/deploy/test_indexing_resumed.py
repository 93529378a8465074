"""A run of `index` that was killed is gone on with: no item is lost, and none is there twice."""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import itr_deploy
from itr_deploy import Gallery
from itr_deploy.bundle.leftovers import is_leftover
from itr_deploy.errors import InputError
from itr_deploy.runtime.encoding.pictures import CheckedPictures
from itr_deploy.runtime.encoding.sources import TOGETHER
from tests.support.duals import GRID, export_words
from tests.support.exports import Bundles
from tests.support.extractors import extracted, hdf5_of_vqa, row, table
from tests.support.items import WIDTH, captions

COUNT = 4 * TOGETHER + 9

STOPPED = """
import json, os, signal, sys
import itr_deploy
from itr_deploy.runtime.gallery import parts
parts.SECONDS = parts.SHARE = 0.0
stop, number = int(sys.argv[1]), int(sys.argv[2])
def progress(done, total):
    global stop
    if done >= stop:
        stop = 1 << 60
        os.kill(os.getpid(), number)
itr_deploy.index(**json.loads(sys.argv[3]), progress=progress)
"""
"""Commits after every batch, and is sent a signal when so many items are encoded."""


def stopped(given: dict[str, Any], stop: int, number: int = signal.SIGKILL) -> list[Path]:
    """What lies beside the output of a run that is stopped."""
    words = [sys.executable, "-c", STOPPED, str(stop), str(int(number)), json.dumps(given)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if number == signal.SIGKILL:
        assert done.returncode == -number, done.stderr
    else:
        assert "KeyboardInterrupt" in done.stderr
    return left_of(Path(given["output"]))


def left_of(output: Path) -> list[Path]:
    return [path for path in output.parent.iterdir() if is_leftover(path.name)]


def resumed(given: dict[str, Any]) -> tuple[itr_deploy.deploy.indexing.Indexed, list[int]]:
    """The same call again, and how far it was each time that it told."""
    told: list[int] = []
    made = itr_deploy.index(**given, progress=lambda done, total: told.append(done))
    assert left_of(Path(given["output"])) == []
    return made, told


def assert_same(given: dict[str, Any], tmp_path: Path) -> None:
    """A gallery holds what one holds that was made in one go."""
    whole = tmp_path / "whole"
    itr_deploy.index(**{**given, "output": str(whole), "force": True})
    expected, found = (
        Gallery.open(path).table.to_arrow().sort_by("id") for path in (whole, given["output"])
    )
    assert found.equals(expected)
    Gallery.open(given["output"]).verify()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A split, a table and HDF5 of the same pictures."""
    root = tmp_path_factory.mktemp("world")
    items = extracted([1 + number % 3 for number in range(COUNT)], width=WIDTH)
    table(root / "r.tsv", [row(item) for item in items])
    hdf5_of_vqa(root / "r.hdf5", items)
    itr_deploy.convert(root / "r.tsv", output=root / "data")
    (root / "data" / "test_caps.txt").write_text("\n".join(captions(COUNT)) + "\n")
    lines = "".join(f"{item.id},{number}\n" for number, item in enumerate(items))
    (root / "columns.csv").write_text(f"id,price\n{lines}")
    return root


def words(world: Path, bundle: Path, place: Path, **given: Any) -> dict[str, Any]:
    paths = {name: str(world / value) for name, value in given.items() if name != "modality"}
    place.mkdir()
    return {**given, **paths, "bundle": str(bundle), "output": str(place / "gallery")}


@pytest.fixture(scope="module")
def killed(world: Path, bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a run over the table leaves that is killed after two commits."""
    place = tmp_path_factory.mktemp("killed") / "place"
    call = words(world, bundle, place, features="r.tsv", metadata="columns.csv")
    (left,) = stopped(call, 3 * TOGETHER)
    assert not Path(call["output"]).exists()
    assert Gallery.open(left).count() == 2 * TOGETHER
    return left


@pytest.fixture
def again(world: Path, bundle: Path, killed: Path, tmp_path: Path) -> dict[str, Any]:
    """The call of the killed run, with a copy of what it left beside the output."""
    place = tmp_path / "place"
    call = words(world, bundle, place, features="r.tsv", metadata="columns.csv")
    shutil.copytree(killed, place / killed.name)
    return call


def test_a_killed_run_is_gone_on_with(again: dict[str, Any], tmp_path: Path) -> None:
    made, told = resumed(again)
    assert told[0] == 2 * TOGETHER
    assert (made.added, made.items, told[-1]) == (COUNT, COUNT, COUNT)
    assert_same(again, tmp_path)


@pytest.mark.slow
@pytest.mark.full
@pytest.mark.parametrize(
    "given",
    [{"data": "data", "modality": "text"}, {"features": "r.hdf5"}, {"data": "data"}],
    ids=["captions", "hdf5", "split"],
)
def test_so_is_one_over_any_other_source(
    given: dict[str, str], world: Path, bundle: Path, tmp_path: Path
) -> None:
    call = words(world, bundle, tmp_path / "place", **given)
    (left,) = stopped(call, 3 * TOGETHER)
    assert Gallery.open(left).count() == 2 * TOGETHER
    made, told = resumed(call)
    assert (made.items, told[0]) == (COUNT, 2 * TOGETHER)
    assert_same(call, tmp_path)


INTERRUPTED = """
import os, signal, sys
from itr_deploy.cli import progress
from itr_deploy.cli.main import main
from itr_deploy.runtime.gallery import parts
parts.SECONDS = parts.SHARE = 0.0
calls, check = int(sys.argv.pop(1)), progress.check_interrupted
def interrupted():
    global calls
    calls -= 1
    if not calls:
        os.kill(os.getpid(), signal.SIGINT)
    check()
progress.check_interrupted = interrupted
sys.argv[0] = "itr-deploy"
main()
"""
"""The command, which Ctrl-C reaches when it has told of its progress so many times."""


@pytest.mark.slow
def test_ctrl_c_keeps_what_was_stored_and_says_so(
    world: Path, bundle: Path, tmp_path: Path
) -> None:
    call = words(world, bundle, tmp_path / "place", data="data")
    given = ("index", bundle, "--data", call["data"], "--output", call["output"])
    command = [sys.executable, "-c", INTERRUPTED, "3", *map(str, given)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 130, done.stderr
    said = f"after {3 * TOGETHER} of {COUNT} images; the same command goes on from what was stored"
    assert f"error: interrupted {said}" in done.stderr
    (left,) = left_of(Path(call["output"]))
    stored = Gallery.open(left).count()
    assert stored in (2 * TOGETHER, 3 * TOGETHER)  # a commit that has begun may end
    made, told = resumed(call)
    assert (made.items, told[0]) == (COUNT, stored)


@pytest.mark.slow
@pytest.mark.full
def test_ctrl_c_before_anything_was_stored_leaves_nothing(
    world: Path, bundle: Path, tmp_path: Path
) -> None:
    call = words(world, bundle, tmp_path / "place", features="r.tsv")
    assert stopped(call, 1, signal.SIGINT) == []


def touched(world: Path, left: Path) -> None:
    os.utime(world / "r.tsv")


def damaged(world: Path, left: Path) -> None:
    path = max((left / "items.lance" / "data").iterdir(), key=lambda file: file.stat().st_size)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("harm", [touched, damaged])
def test_what_was_made_of_something_else_or_is_damaged_is_made_anew(
    harm: Any, again: dict[str, Any], world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("itr_deploy.runtime.gallery.parts.SECONDS", 0.0)
    before = (world / "r.tsv").stat().st_mtime_ns
    harm(world, left_of(Path(again["output"]))[0])
    try:
        made, told = resumed(again)
    finally:
        os.utime(world / "r.tsv", ns=(before, before))
    assert (made.items, told[0]) == (COUNT, TOGETHER)


def test_other_columns_are_made_anew(again: dict[str, Any], tmp_path: Path) -> None:
    columns = tmp_path / "other.csv"
    lines = Path(again["metadata"]).read_text().replace(",1\n", ",100\n")
    columns.write_text(lines)
    made, told = resumed({**again, "metadata": str(columns)})
    assert (made.items, told[0]) == (COUNT, TOGETHER)


def test_another_call_with_the_same_output_removes_what_was_left(again: dict[str, Any]) -> None:
    made, told = resumed({**again, "storage": "float32"})
    assert (made.items, told[0]) == (COUNT, TOGETHER)


def test_damaged_features_leave_nothing_also_after_a_commit(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("itr_deploy.runtime.gallery.parts.SECONDS", 0.0)
    items = extracted([3] * COUNT, width=WIDTH)
    items[-1].features[0] = np.nan
    table(tmp_path / "nan.tsv", [row(item) for item in items])
    call = words(tmp_path, bundle, tmp_path / "place", features="nan.tsv")
    with pytest.raises(InputError, match=f"line {COUNT}, image .* hold NaN"):
        itr_deploy.index(**call)
    assert list((tmp_path / "place").iterdir()) == []


def broken(rng: np.random.Generator) -> dict[str, bytes]:
    """Files of ten kinds that are no pictures any more, by their names."""
    whole = {}
    for kind in ("png", "jpeg", "gif", "webp", "bmp", "tiff"):
        file = io.BytesIO()
        pixels = rng.integers(0, 256, (40, 30, 3), np.uint8)
        Image.fromarray(pixels).save(file, kind)
        whole[kind] = file.getvalue()
    cut = {f"cut.{kind}": content[: len(content) // 2] for kind, content in whole.items()}
    return {
        **cut,
        "empty.png": b"",
        "text.jpg": b"not a picture",
        "zeros.png": bytes(500),
        "head.jpg": whole["jpeg"][:20],
    }


@pytest.mark.slow
def test_of_pictures_none_is_lost_none_is_there_twice_and_the_broken_are_named(
    bundles: Bundles, tmp_path: Path
) -> None:
    pixels = bundles.of(*export_words(GRID))
    photos, rng = tmp_path / "photos", np.random.default_rng(0)
    (photos / "more").mkdir(parents=True)
    names, bad = set(), set()
    for number in range(5 * CheckedPictures.together):
        names.add(f"{number:03}.png")
        picture = Image.fromarray(rng.integers(0, 256, (20, 30, 3), np.uint8))
        picture.save(photos / f"{number:03}.png")
    for number, (name, content) in enumerate(broken(rng).items()):
        # Spread over the folder, each kind twice.
        for place in (f"{number * 3:03} {name}", f"more/{name}"):
            (photos / place).write_bytes(content)
            bad.add(place)
    (tmp_path / "place").mkdir()
    output = tmp_path / "place" / "gallery"
    call = {"bundle": str(pixels), "pictures": str(photos), "output": str(output)}
    (left,) = stopped(call, 4 * CheckedPictures.together)
    stored = Gallery.open(left).count()
    assert 0 < stored < len(names)
    made, told = resumed(call)
    assert told[0] == stored
    assert made.broken.keys() == bad
    assert sorted(Gallery.open(call["output"]).ids()) == sorted(names)
    assert (made.added, made.items) == (len(names), len(names))
    assert_same(call, tmp_path)


@pytest.mark.slow
@pytest.mark.full
def test_kills_at_any_moment_end_in_a_whole_gallery(
    world: Path, bundle: Path, tmp_path: Path
) -> None:
    call = words(world, bundle, tmp_path / "place", features="r.tsv")
    rng = random.Random(0)
    command = [sys.executable, "-c", STOPPED, str(COUNT + 1), "9", json.dumps(call)]
    began = time.monotonic()
    assert subprocess.run(command, check=False).returncode == 0
    seconds, kills = time.monotonic() - began, 0
    shutil.rmtree(call["output"])
    while not Path(call["output"]).exists():
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            process.wait(rng.uniform(0.5, 1.1) * seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            kills += 1
        assert kills < 60, "it never ends"
    assert_same(call, tmp_path)
