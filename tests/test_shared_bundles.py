"""The cache of bundles: exported once, found again by content, never trusted if damaged."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support import exports
from tests.support.exports import KEPT, PACKAGE, Bundles, code_of_a_bundle


class Maker:
    """Makes a bundle of one file, and counts."""

    def __init__(self) -> None:
        self.made: list[Path] = []

    def __call__(self, output: Path) -> None:
        output.mkdir()
        (output / "manifest.json").write_text("{}")
        self.made.append(output)


def test_a_bundle_is_made_once_and_found_by_the_next_run(tmp_path: Path) -> None:
    make, first = Maker(), Bundles(tmp_path)
    path = first.once("small", make, "--dtype", "float16")
    assert first.once("small", make, "--dtype", "float16") == path
    assert Bundles(tmp_path).once("small", make, "--dtype", "float16") == path
    assert Bundles(tmp_path).once("small", make, "--dtype", "float32") != path
    assert len(make.made) == 2


def test_a_file_counts_by_name_and_content_wherever_it_is(tmp_path: Path) -> None:
    make, bundles = Maker(), Bundles(tmp_path / "cache")
    for folder, content in (("a", b"one"), ("b", b"one"), ("c", b"two")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "model.tar").write_bytes(content)
        bundles.once("small", make, "--checkpoint", tmp_path / folder / "model.tar")
    assert len(make.made) == 2
    a, c = (bundles.once("small", make, tmp_path / folder) for folder in "ac")
    assert a != c


@pytest.mark.parametrize("damage", ["changed", "removed", "added"])
def test_a_test_that_changes_a_bundle_is_found_and_the_next_run_has_a_whole_one(
    damage: str, tmp_path: Path
) -> None:
    make, bundles = Maker(), Bundles(tmp_path)
    path = bundles.once("small", make)
    bundles.check()
    if damage == "removed":
        (path / "manifest.json").unlink()
    else:
        (path / ("manifest.json" if damage == "changed" else "engine")).write_text("x")
    with pytest.raises(AssertionError, match="a test changed a shared bundle"):
        bundles.check()
    again = Bundles(tmp_path)
    assert [p.name for p in again.once("small", make).iterdir()] == ["manifest.json"]
    again.check()
    assert len(make.made) == 2


def test_what_was_not_finished_is_made_again(tmp_path: Path) -> None:
    def interrupted(output: Path) -> None:
        output.mkdir()
        raise KeyboardInterrupt

    make = Maker()
    with pytest.raises(KeyboardInterrupt):
        Bundles(tmp_path).once("small", interrupted)
    Bundles(tmp_path).once("small", make)
    assert len(make.made) == 1


def test_other_code_has_other_bundles_and_the_oldest_are_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = Maker()
    for number in range(KEPT + 2):
        monkeypatch.setattr(exports, "code_digest", lambda number=number: f"code{number}")
        Bundles(tmp_path).once("small", make)
        os.utime(tmp_path / f"code{number}", (number, number))
    assert len(make.made) == KEPT + 2
    left = sorted(path.name for path in tmp_path.iterdir() if path.is_dir())
    assert left == [f"code{number}" for number in range(2, KEPT + 2)]


def test_the_key_knows_the_code_that_writes_bundles() -> None:
    names = {path.relative_to(PACKAGE).as_posix() for path in code_of_a_bundle()}
    assert {
        "exporters/build.py",
        "models/layers.py",
        "bundle/store.py",
        "deploy/exporting.py",
        "runtime/pair_scorer.py",
        "evaluation/data/split.py",
    } <= names
    assert not any(name.startswith(("evaluation/report/", "cli/search")) for name in names)
