"""Captions from a JSON file of Karpathy's splits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from itr_deploy.errors import InputError
from itr_deploy.evaluation.data.split import read_split
from tests.evaluation.data.test_split import features

SPLITS = ["train", "test", "val", "test", "restval", "test"]
COUNTS = [5, 5, 6, 7, 5, 5]
"""Of the images: the three of the test split have 5, 7 and 5 captions."""


def entry(number: int) -> dict[str, Any]:
    sentences = [
        {"raw": f" Caption {n} of {number}.\n", "sentid": 10 * number + n, "imgid": number}
        for n in range(COUNTS[number])
    ]
    return {
        "filename": f"COCO_val2014_{number:012d}.jpg",
        "cocoid": 100 + number,
        "imgid": number,
        "split": SPLITS[number],
        "sentences": sentences,
        "sentids": [sentence["sentid"] for sentence in sentences],
    }


ENTRIES = [entry(number) for number in range(len(SPLITS))]
TEST = [1, 3, 5]
"""Numbers of the images of the test split."""
CAPTIONS = [f"Caption {n} of {number}." for number in TEST for n in range(COUNTS[number])]


def write(
    folder: Path,
    rows: int = 3,
    ids: list[object] | None = None,
    content: object = None,
    split: str = "test",
    name: str = "dataset_coco.json",
) -> Path:
    np.save(folder / f"{split}_ims.npy", features(rows))
    text = content if isinstance(content, str) else json.dumps(content or {"images": ENTRIES})
    (folder / name).write_text(text, encoding="utf-8")
    if ids is not None:
        (folder / f"{split}_ids.txt").write_text("".join(f"{name}\n" for name in ids))
    return folder


def refusal(folder: Path, split: str = "test", captions: Path | None = None) -> str:
    with pytest.raises(InputError) as caught:
        read_split(folder, split, captions=captions)
    message = str(caught.value)
    assert message.startswith(str(folder))
    assert "\n" not in message
    return message


def test_without_ids_the_rows_are_the_splits_images_in_the_files_order(tmp_path: Path) -> None:
    split = read_split(write(tmp_path), "test")
    assert split.image_ids == [ENTRIES[number]["filename"] for number in TEST]
    assert split.captions_per_image == [5, 7, 5]
    assert split.captions == CAPTIONS
    assert split.caption_ids[11] == f"{ENTRIES[3]['filename']}#6"


@pytest.mark.parametrize(("ours", "theirs"), [("testall", "test"), ("dev", "val"), ("val", "val")])
def test_a_split_goes_by_the_fields_name_too(ours: str, theirs: str, tmp_path: Path) -> None:
    rows = SPLITS.count(theirs)
    split = read_split(write(tmp_path, rows, split=ours), ours)
    assert split.name == ours
    assert len(split.captions) == sum(
        count for count, name in zip(COUNTS, SPLITS, strict=True) if name == theirs
    )


@pytest.mark.parametrize(
    "name",
    [
        lambda image: image["cocoid"],
        lambda image: image["filename"],
        lambda image: image["filename"].removesuffix(".jpg"),
        lambda image: image["imgid"],
    ],
    ids=["cocoid", "filename", "stem", "imgid"],
)
def test_ids_say_which_image_a_row_is_in_any_order_and_split(name: Any, tmp_path: Path) -> None:
    ids = [name(ENTRIES[number]) for number in (3, 0, 1)]
    split = read_split(write(tmp_path, ids=ids), "test")
    assert split.image_ids == [str(name) for name in ids]
    assert split.captions_per_image == [7, 5, 5]
    assert split.captions[0] == "Caption 0 of 3."
    assert split.captions[7] == "Caption 0 of 0."


def test_a_file_that_is_named_comes_before_the_splits_captions(tmp_path: Path) -> None:
    path = write(tmp_path, name="mine.json") / "mine.json"
    (tmp_path / "test_caps.txt").write_text("one\ntwo\nthree\n")
    assert read_split(tmp_path, "test").captions == ["one", "two", "three"]
    assert read_split(tmp_path, "test", captions=path).captions == CAPTIONS


def test_of_several_files_one_has_to_be_named(tmp_path: Path) -> None:
    write(tmp_path, name="dataset_flickr30k.json")
    write(tmp_path)
    message = refusal(tmp_path)
    assert "dataset_coco.json, dataset_flickr30k.json" in message
    assert "--captions" in message
    assert read_split(tmp_path, "test", captions=tmp_path / "dataset_coco.json").captions


def test_the_first_captions_end_with_an_image(tmp_path: Path) -> None:
    split = read_split(write(tmp_path), "test", first=12)
    assert split.captions_per_image == [5, 7]


def test_an_id_that_the_file_lacks_is_named_with_its_line(tmp_path: Path) -> None:
    message = refusal(write(tmp_path, ids=[101, 103, 999]))
    assert "test_ids.txt: line 3: '999' is no image of" in message
    assert "cocoid, filename or imgid" in message


def test_counts_that_do_not_agree_are_both_named(tmp_path: Path) -> None:
    message = refusal(write(tmp_path, rows=4))
    assert "3 images of split 'test' for 4 rows" in message
    assert "test_ids.txt" in message


def test_a_split_that_the_file_lacks_is_named_with_those_it_has(tmp_path: Path) -> None:
    message = refusal(write(tmp_path, split="mine"), "mine")
    assert "'mine'; it has restval, test, train, val" in message


def changed(**fields: object) -> dict[str, object]:
    """The file with another second image."""
    return {"images": [ENTRIES[0], {**ENTRIES[1], **fields}, *ENTRIES[2:]]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not JSON"),
        ("[" * 200_000, "not JSON"),
        ("[1]", "no list 'images'"),
        ({"images": {}}, "no list 'images'"),
        ({"images": [], "annotations": []}, "MS-COCO's annotations"),
        ({"images": [3]}, "images[0]: not an object"),
        (changed(split=None), "images[1]: no 'split'"),
        (changed(sentences=None), "images[1]: no list 'sentences'"),
        (changed(sentences=[{"tokens": []}]), "images[1].sentences[0]: no text 'raw'"),
        (changed(sentences=["a dog"]), "images[1].sentences[0]: no text 'raw'"),
        (changed(sentences=[{"raw": " "}]), "images[1].sentences[0]: no text 'raw'"),
    ],
)
def test_another_kind_of_file_is_refused_in_one_line(
    content: object, message: str, tmp_path: Path
) -> None:
    assert message in refusal(write(tmp_path, content=content))


def test_a_named_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    assert "absent.json: cannot be read" in refusal(
        write(tmp_path), captions=tmp_path / "absent.json"
    )


def test_an_image_without_sentences_is_searched_and_no_query(tmp_path: Path) -> None:
    split = read_split(write(tmp_path, content=changed(sentences=[])), "test")
    assert split.captions_per_image == [0, 7, 5]
