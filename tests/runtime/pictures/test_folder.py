"""Which files below a directory are pictures, and what they are called."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from itr_deploy.errors import InputError
from itr_deploy.runtime.pictures.folder import picture_files


def make(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_pictures_are_named_by_their_relative_paths_in_order(tmp_path: Path) -> None:
    make(tmp_path, "b.JPG", "a.png", "summer/c.jpeg", "summer/2024/d.webp", "notes.txt", "e.heic")
    found = picture_files(tmp_path)
    assert list(found) == ["a.png", "b.JPG", "e.heic", "summer/2024/d.webp", "summer/c.jpeg"]
    assert found["summer/c.jpeg"] == tmp_path / "summer" / "c.jpeg"


def test_hidden_files_and_directories_are_left_out(tmp_path: Path) -> None:
    make(tmp_path, "a.png", "._a.png", ".thumbnails/b.png")
    assert list(picture_files(tmp_path)) == ["a.png"]


def test_links_to_files_count_and_links_to_directories_do_not(tmp_path: Path) -> None:
    make(tmp_path, "photos/a.png", "elsewhere/b.png")
    (tmp_path / "photos" / "link.png").symlink_to(tmp_path / "elsewhere" / "b.png")
    (tmp_path / "photos" / "loop").symlink_to(tmp_path / "photos")
    assert list(picture_files(tmp_path / "photos")) == ["a.png", "link.png"]


def test_pipes_are_not_waited_for(tmp_path: Path) -> None:
    make(tmp_path, "a.png")
    os.mkfifo(tmp_path / "pipe.png")
    assert list(picture_files(tmp_path)) == ["a.png"]


def test_a_name_that_is_not_utf_8_is_told(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9.jpg")).touch()
    with pytest.raises(InputError, match=r"the name b'caf\\xe9.jpg' is not UTF-8"):
        picture_files(tmp_path)


def test_names_that_are_not_utf_8_are_counted_and_a_directorys_is_shown(tmp_path: Path) -> None:
    make(tmp_path, "a.png")
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    make(folder, "b.png", "c.png", "notes.txt")
    said = r"2 names are not UTF-8, and ids are, such as b'caf\\xe9/b.png'; rename them"
    with pytest.raises(InputError, match=said):
        picture_files(tmp_path)


def test_a_directory_without_pictures_is_told(tmp_path: Path) -> None:
    make(tmp_path, "notes.txt")
    with pytest.raises(InputError, match=r"no picture in it or below, no name ends in .*\.jpg"):
        picture_files(tmp_path)
    with pytest.raises(InputError, match="no such directory"):
        picture_files(tmp_path / "nowhere")
