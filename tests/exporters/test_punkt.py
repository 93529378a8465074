"""Punkt's parameters as machines and people have them."""

from __future__ import annotations

import io
import json
import pickle
import shutil
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from itr_deploy.errors import CheckpointError, SetupError
from itr_deploy.exporters.punkt import given_punkt, machine_punkt
from tests.exporters.test_text import SMALL_PUNKT, no_nltk_data, trained_nltk_data

__all__ = ["no_nltk_data", "trained_nltk_data"]


def zip_of(folder: Path, place: str) -> bytes:
    """A zip of ``punkt_tab/english``'s files below ``place``."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, f"{place}{file.name}")
    return content.getvalue()


@pytest.fixture
def english(trained_nltk_data: Path) -> Path:
    return trained_nltk_data / "tokenizers" / "punkt_tab" / "english"


@pytest.mark.parametrize("place", ["", "english/", "punkt_tab/english/"])
def test_a_zip_holds_what_the_folder_does(place: str, english: Path, tmp_path: Path) -> None:
    path = tmp_path / "punkt_tab.zip"
    path.write_bytes(zip_of(english, place))
    expected = machine_punkt()
    assert given_punkt(path) == expected
    assert expected is not None
    assert "dr" in expected["abbrev_types"]


@pytest.mark.parametrize("up", [0, 1])
def test_a_folder_may_be_given(up: int, english: Path) -> None:
    assert given_punkt([english, *english.parents][up]) == machine_punkt()


def test_a_zip_that_nltk_did_not_unpack_is_read(english: Path) -> None:
    expected, folder = machine_punkt(), english.parent
    folder.with_suffix(".zip").write_bytes(zip_of(english, "punkt_tab/english/"))
    shutil.rmtree(folder)
    assert machine_punkt() == expected


def test_the_parameters_of_another_bundle_may_be_given(english: Path, tmp_path: Path) -> None:
    path = tmp_path / "punkt.json"
    path.write_text(json.dumps(machine_punkt()))
    assert given_punkt(path) == machine_punkt()


@pytest.mark.parametrize("content", [b"PK\x03\x04 this download was cut", b"", b"<html>"])
def test_a_damaged_zip_of_the_machine_is_one_line_that_names_it(
    content: bytes, no_nltk_data: Path
) -> None:
    path = no_nltk_data / "tokenizers" / "punkt_tab.zip"
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(SetupError) as caught:
        machine_punkt()
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "python -m nltk.downloader punkt_tab" in message
    assert len(message.splitlines()) == 1


def test_a_place_with_other_languages_alone_does_not_end_the_search(
    english: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = machine_punkt()
    german = tmp_path / "first" / "tokenizers" / "punkt_tab" / "german"
    german.mkdir(parents=True)
    (german / "abbrev_types.txt").write_text("usw")
    monkeypatch.setattr("nltk.data.path", [str(tmp_path / "first"), str(english.parents[2])])
    assert expected is not None
    assert machine_punkt() == expected


@pytest.mark.parametrize("name", ["abbrev_types.txt", "ortho_context.tab"])
def test_a_folder_that_lacks_a_file_is_named(name: str, english: Path) -> None:
    (english / name).unlink()
    with pytest.raises(SetupError, match=name):
        machine_punkt()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"abbrev_types": "dr"}, "abbrev_types"),
        ({"sent_starters": [1]}, "sent_starters"),
        ({"collocations": [["a"]]}, "collocations"),
        ({"ortho_context": {"a": "b"}}, "ortho_context"),
        ({"ortho_context": None}, "ortho_context"),
    ],
)
def test_other_json_is_refused(change: dict, words: str, tmp_path: Path) -> None:
    path = tmp_path / "punkt.json"
    path.write_text(json.dumps({**SMALL_PUNKT, **change}))
    with pytest.raises(CheckpointError, match=words):
        given_punkt(path)


def test_a_pickle_is_never_read(tmp_path: Path) -> None:
    path = tmp_path / "english.pickle"
    path.write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(CheckpointError, match="pickle, not read"):
        given_punkt(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="No such file"):
        given_punkt(tmp_path / "absent.zip")


@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_random_damage_is_one_clear_line(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.getbasetemp() / "small_punkt"
    if not folder.exists():
        folder.mkdir()
        for name, text in {
            "abbrev_types.txt": "dr\nu.s",
            "collocations.tab": "no\t5",
            "sent_starters.txt": "however",
            "ortho_context.tab": "the\t46",
        }.items():
            (folder / name).write_text(text)
    content = bytearray(zip_of(folder, "punkt_tab/english/"))
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=5)):
        content[place] = data.draw(st.integers(0, 255))
    path = folder.with_suffix(".zip")
    path.write_bytes(content[: data.draw(st.integers(len(content) // 2, len(content)))])
    message = f"{path}: "
    try:
        given_punkt(path)
    except CheckpointError as error:
        message = str(error)
    assert message.startswith(f"{path}: ")
    assert len(message.splitlines()) == 1
