"""Whose each caption is, and the first of them."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from itr_deploy.errors import InputError, UsageError
from itr_deploy.evaluation.data.split import Split, read_images, read_split
from tests.evaluation.data.test_split import features, refusal, write


def whose(folder: Path, images: list[object], ids: list[str] | None = None, rows: int = 3) -> Path:
    """A split of captions whose images a file names, one a line."""
    write(folder, features(rows), len(images), ids)
    lines = "".join(f"{image}\n" for image in images)
    (folder / "test_caps_image_ids.txt").write_text(lines)
    return folder


def pairs(split: Split) -> list[tuple[str, str]]:
    return list(zip(split.image_of_caption, split.captions, strict=True))


def test_images_have_as_many_captions_as_the_file_says(tmp_path: Path) -> None:
    split = read_split(whose(tmp_path, ["a", "a", "b", "c", "c", "c"], ["a", "b", "c"]), "test")
    assert split.captions_per_image == [2, 1, 3]
    assert split.caption_ids == ["a#0", "a#1", "b#0", "c#0", "c#1", "c#2"]
    assert split.image_of_caption == ["a", "a", "b", "c", "c", "c"]


def test_ids_may_be_there_once_per_caption(tmp_path: Path) -> None:
    names = ["a", "a", "b", "c", "c", "c"]
    split = read_split(whose(tmp_path, list(names), names), "test")
    assert split.image_ids == read_images(tmp_path, "test").ids == ["a", "b", "c"]
    assert split.image_of_caption == names


def test_without_ids_the_lines_are_rows_from_0(tmp_path: Path) -> None:
    split = read_split(whose(tmp_path, [0, 1, 1, 2]), "test")
    assert split.image_ids == ["0", "1", "2"]
    assert split.captions_per_image == [1, 2, 1]


def test_captions_in_any_order_are_put_in_the_images_order(tmp_path: Path) -> None:
    split = read_split(whose(tmp_path, [2, 0, 1, 0, 2]), "test")
    captions = [("0", 1), ("0", 3), ("1", 2), ("2", 0), ("2", 4)]
    assert pairs(split) == [(image, f"caption {number}") for image, number in captions]


def test_the_same_number_for_every_image_is_as_without_the_file(tmp_path: Path) -> None:
    split = read_split(whose(tmp_path, [0, 0, 1, 1, 2, 2]), "test")
    assert split.captions_per_image == 2
    digest = split.digest()
    (tmp_path / "test_caps_image_ids.txt").unlink()
    assert read_split(tmp_path, "test").digest() == digest


def test_other_images_for_the_same_captions_are_other_data(tmp_path: Path) -> None:
    digest = read_split(whose(tmp_path, [0, 0, 1, 2]), "test").digest()
    assert read_split(whose(tmp_path, [0, 1, 1, 2]), "test").digest() != digest


def test_images_without_captions_stay_and_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        split = read_split(whose(tmp_path, [0, 2, 2]), "test")
    assert (len(split.regions), split.captions_per_image) == (3, [1, 0, 2])
    assert "1 of 3 images have no captions" in caplog.text


@pytest.mark.parametrize("ids", [["a", "b", "c"], None])
def test_an_unknown_image_is_named_with_its_line(ids: list[str] | None, tmp_path: Path) -> None:
    names: list[object] = ["a", "b", "c", "d"] if ids else [0, 1, 2, 3]
    message = refusal(whose(tmp_path, names, ids))
    assert f"test_caps_image_ids.txt: line 4: no image '{names[3]}'" in message
    assert ("test_ids.txt" in message) == (ids is not None)


def test_counts_of_lines_that_do_not_agree_are_named(tmp_path: Path) -> None:
    whose(tmp_path, [0, 1, 2, 2])
    (tmp_path / "test_caps_image_ids.txt").write_text("0\n1\n2\n")
    assert "3 lines for 4 captions" in refusal(tmp_path)


def test_other_numbers_of_captions_name_the_file_that_says_whose(tmp_path: Path) -> None:
    assert "test_caps_image_ids.txt" in refusal(write(tmp_path, features(3), 10))


def test_the_first_captions_come_with_their_images(tmp_path: Path) -> None:
    write(tmp_path, features(4), 20, ["a", "b", "c", "d"])
    split = read_split(tmp_path, "test", first=10)
    np.testing.assert_array_equal(split.regions, features(4)[:2])
    assert split.image_ids == ["a", "b"]
    assert split.captions == [f"caption {n}" for n in range(10)]
    assert (split.captions_per_image, split.cut_to) == (5, 10)
    assert isinstance(split.regions, np.memmap)
    assert split.digest() != read_split(tmp_path, "test", first=15).digest()


def test_of_rows_once_per_caption_the_first_captions_images_are_taken(tmp_path: Path) -> None:
    write(tmp_path, features(4).repeat(5, axis=0), 20)
    split = read_split(tmp_path, "test", first=10)
    np.testing.assert_array_equal(split.regions, features(4)[:2])


def test_the_first_captions_of_images_in_any_order_leave_the_others_out(tmp_path: Path) -> None:
    split = read_split(whose(tmp_path, [2, 0, 0, 2, 1]), "test", first=4)
    np.testing.assert_array_equal(split.regions, features(3)[[0, 2]])
    np.testing.assert_array_equal(split.given.features, features(3)[[0, 2]])
    captions = [("0", 1), ("0", 2), ("2", 0), ("2", 3)]
    assert pairs(split) == [(image, f"caption {number}") for image, number in captions]


@pytest.mark.parametrize(
    ("first", "message"),
    [
        (12, r"first=12 \(--first\) takes only some of an image's captions; give 10 or 15"),
        (3, "give 5"),
        (21, "is more than the split's 20 captions"),
    ],
)
def test_a_number_that_cuts_an_image_or_is_too_large_is_refused(
    first: int, message: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=message):
        read_split(write(tmp_path, features(4), 20), "test", first=first)


def test_all_captions_as_the_first_are_the_whole_split(tmp_path: Path) -> None:
    write(tmp_path, features(4), 20)
    whole = read_split(tmp_path, "test")
    assert read_split(tmp_path, "test", first=20).digest() == whole.digest()


def test_the_first_images_of_a_split_keep_their_captions(tmp_path: Path) -> None:
    split = read_split(whose(tmp_path, [0, 0, 1, 2, 2, 2]), "test").first(2)
    assert (split.captions_per_image, len(split.captions)) == ([2, 1], 3)
    assert split.first(9).image_ids == ["0", "1"]


def test_ids_of_another_number_are_refused_beside_whose_each_caption_is(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="2 ids for 3 images"):
        read_split(whose(tmp_path, ["a", "b"], ["a", "b"]), "test")
