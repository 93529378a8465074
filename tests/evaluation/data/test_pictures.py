"""Splits whose images are pictures: which file each id is, and what is told where none is."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from itr_deploy.errors import InputError
from itr_deploy.evaluation.data.split import read_images, read_split

IDS = ["12", "7.png", "deep/9"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "images" / "deep").mkdir(parents=True)
    for number, name in enumerate(("12.png", "7.png", "deep/9.jpg")):
        pixels = np.full((4, 4, 3), number, np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / name)
    (tmp_path / "test_ids.txt").write_text("\n".join(IDS) + "\n")
    (tmp_path / "test_caps.txt").write_text("".join(f"caption {n}\n" for n in range(6)))
    return tmp_path


def files(images: object) -> list[str]:
    assert isinstance(images, list)
    return ["/".join(path.parts[-2:]) for path in images]


def test_an_id_is_a_file_with_or_without_its_ending(data: Path) -> None:
    split = read_split(data, "test", pictures=True)
    assert files(split.given) == ["images/12.png", "images/7.png", "deep/9.jpg"]
    assert split.image_ids == IDS
    assert split.captions_per_image == 2
    assert files(read_images(data, "test", pictures=True).given) == files(split.given)


def test_ids_may_be_there_once_a_caption(data: Path) -> None:
    (data / "test_ids.txt").write_text("".join(f"{name}\n{name}\n" for name in IDS))
    split = read_split(data, "test", pictures=True)
    assert (split.image_ids, len(split.captions)) == (IDS, 6)
    assert len(split.given) == 3


def test_a_mapping_says_which_file_an_id_is(data: Path) -> None:
    (data / "test_ids.txt").write_text("1\n2\n3\n")
    mapping = {"1": "7.png", "2": "12.png", "3": "deep/9.jpg", "4": "elsewhere.png"}
    (data / "id_mapping.json").write_text(json.dumps(mapping))
    split = read_split(data, "test", pictures=True)
    assert files(split.given) == ["images/7.png", "images/12.png", "deep/9.jpg"]
    assert split.image_ids == ["1", "2", "3"]


def test_a_data_set_may_be_linked(data: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "images"
    (data / "images").rename(elsewhere)
    (data / "images").symlink_to(elsewhere)
    assert len(read_split(data, "test", pictures=True).given) == 3


def test_the_first_captions_keep_their_pictures(data: Path) -> None:
    split = read_split(data, "test", first=4, pictures=True)
    assert (files(split.given), len(split.captions)) == (["images/12.png", "images/7.png"], 4)
    assert len(split.first(1).given) == 1


def test_the_digest_is_that_of_the_files(data: Path) -> None:
    before = read_split(data, "test", pictures=True).digest()
    assert read_split(data, "test", pictures=True).digest() == before
    Image.fromarray(np.full((4, 4, 3), 77, np.uint8)).save(data / "images" / "12.png")
    assert read_split(data, "test", pictures=True).digest() != before


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("test_ids.txt", "12\nmissing\n7.png\n", r"test_ids\.txt: line 2: no picture 'missing' in"),
        ("test_ids.txt", "../../etc/passwd\n12\n7\n", "line 1: no picture"),
        ("test_ids.txt", "a" * 300 + "\n12\n7\n", "line 1: no picture"),
        ("id_mapping.json", '{"12": "\\u0000"}', "no picture '12'"),
        ("id_mapping.json", "{", "not JSON"),
        ("id_mapping.json", '{"12": 3}', "expected an object of ids and file names"),
        ("id_mapping.json", '{"12": "no.png"}', "no picture '12', in id_mapping.json 'no.png'"),
    ],
)
def test_what_is_not_there_is_told(data: Path, name: str, content: str, told: str) -> None:
    (data / name).write_text(content)
    with pytest.raises(InputError, match=told):
        read_split(data, "test", pictures=True)


def test_without_ids_it_is_told_what_they_are_for(data: Path) -> None:
    (data / "test_ids.txt").unlink()
    with pytest.raises(InputError, match="starts from pixels, and the file names the split's"):
        read_images(data, "test", pictures=True)
