"""Archives in pieces: what was packed comes back, and what is damaged is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.support.files import tree
from tools.gpu_check.parts import MANIFEST, Manifest, PackError, absent, unpack, write_part

PIECE = 10_000


@pytest.fixture
def content(tmp_path: Path) -> Path:
    folder = tmp_path / "content"
    (folder / "below").mkdir(parents=True)
    (folder / "below" / "random").write_bytes(np.random.default_rng(0).bytes(25_000))
    (folder / "empty").write_bytes(b"")
    return folder


@pytest.fixture
def packed(content: Path, tmp_path: Path) -> tuple[Path, Manifest]:
    folder = tmp_path / "packed"
    folder.mkdir()
    manifest = Manifest({"date": "today"}, {"matrix": [1, 2]})
    manifest.parts["base"] = write_part(folder, "base", "all of it", content, PIECE)
    manifest.write(folder)
    return folder, Manifest.read(folder)


def test_a_part_is_cut_into_pieces_of_the_size_and_comes_back_whole(
    packed: tuple[Path, Manifest], content: Path, tmp_path: Path
) -> None:
    folder, manifest = packed
    part = manifest.parts["base"]
    sizes = [(folder / piece.file).stat().st_size for piece in part.pieces]
    assert sizes[:-1] == [PIECE] * 2
    assert 0 < sizes[-1] <= PIECE
    assert part.bytes == sum(sizes)
    assert absent(folder, part) is None
    unpack(folder, part, tmp_path / "there")
    assert tree(tmp_path / "there") == tree(content)


def test_missing_and_damaged_pieces_are_named(packed: tuple[Path, Manifest]) -> None:
    folder, manifest = packed
    part = manifest.parts["base"]
    (folder / "base.0").unlink()
    damaged = bytearray((folder / "base.2").read_bytes())
    damaged[5] ^= 1
    (folder / "base.2").write_bytes(damaged)
    said = str(absent(folder, part))
    assert said.startswith("2 of 3 pieces are missing or damaged: base.0, base.2 (")


def test_what_is_no_archive_is_refused_in_one_line(
    packed: tuple[Path, Manifest], tmp_path: Path
) -> None:
    folder, manifest = packed
    (folder / "base.0").write_bytes(b"something else")
    with pytest.raises(PackError, match=r"^base\.0 cannot be unpacked: "):
        unpack(folder, manifest.parts["base"], tmp_path / "there")


@pytest.mark.parametrize("content", ["", "{", '{"format": 0}'])
def test_another_manifest_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_text(content)
    with pytest.raises(PackError, match=MANIFEST):
        Manifest.read(tmp_path)
