from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from itr_deploy.errors import InputError
from itr_deploy.evaluation.data.split import read_split


def features(images: int, regions: int = 3, width: int = 4) -> np.ndarray:
    return np.arange(images * regions * width, dtype=np.float32).reshape(images, regions, width)


def write(
    folder: Path,
    regions: np.ndarray | None = None,
    captions: int | None = None,
    ids: list[str] | None = None,
    name: str = "test_ims.npy",
) -> Path:
    if regions is not None:
        np.save(folder / name, regions)
    if captions is not None:
        lines = "".join(f"caption {number}\n" for number in range(captions))
        (folder / "test_caps.txt").write_text(lines)
    if ids is not None:
        (folder / "test_ids.txt").write_text("".join(f"{name}\n" for name in ids))
    return folder


def refusal(folder: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_split(folder, "test")
    message = str(caught.value)
    assert message.startswith(str(folder))
    assert "\n" not in message
    return message


@pytest.mark.parametrize("name", ["test_ims.npy", "test_feat.npy"])
def test_one_row_an_image_with_five_captions_each(name: str, tmp_path: Path) -> None:
    split = read_split(write(tmp_path, features(3), 15, name=name), "test")
    np.testing.assert_array_equal(split.regions, features(3))
    assert split.captions_per_image == 5
    assert split.image_ids == ["0", "1", "2"]
    assert split.captions[5] == "caption 5"
    assert split.caption_ids[:6] == ["0#0", "0#1", "0#2", "0#3", "0#4", "1#0"]
    assert split.image_of_caption[4:6] == ["0", "1"]


def test_a_row_repeated_for_each_of_its_captions_is_one_image(tmp_path: Path) -> None:
    split = read_split(write(tmp_path, features(3).repeat(5, axis=0), 15), "test")
    np.testing.assert_array_equal(split.regions, features(3))
    assert split.captions_per_image == 5
    assert split.image_of_caption == [str(n) for n in range(3) for _ in range(5)]


def test_one_caption_an_image_is_taken_as_such_when_the_rows_differ(tmp_path: Path) -> None:
    split = read_split(write(tmp_path, features(10), 10), "test")
    assert (len(split.regions), split.captions_per_image) == (10, 1)


def test_rows_that_repeat_but_for_the_last_of_five_are_different_images(tmp_path: Path) -> None:
    rows = features(2).repeat(5, axis=0)
    rows[9] += 1
    assert read_split(write(tmp_path, rows, 10), "test").captions_per_image == 1


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(images=st.integers(1, 6), per=st.integers(1, 7), repeated=st.booleans())
def test_every_caption_belongs_to_an_image(
    images: int, per: int, repeated: bool, tmp_path: Path
) -> None:
    rows, captions = features(images), images * per
    if repeated:
        rows, captions, per = rows.repeat(5, axis=0), images * 5, 5
    split = read_split(write(tmp_path, rows, captions), "test")
    assert split.captions_per_image == per
    assert len(split.regions) == len(split.image_ids) == images
    assert len(split.image_of_caption) == len(split.caption_ids) == captions
    assert len(set(split.caption_ids)) == captions


@pytest.mark.parametrize("each", [1, 5], ids=["an image", "a caption"])
@pytest.mark.parametrize("repeated", [False, True])
def test_ids_are_one_an_image_or_one_a_caption(each: int, repeated: bool, tmp_path: Path) -> None:
    rows = features(2).repeat(5, axis=0) if repeated else features(2)
    ids = [name for name in ("cat.jpg", "dog.jpg") for _ in range(each)]
    split = read_split(write(tmp_path, rows, 10, ids), "test")
    assert split.image_ids == ["cat.jpg", "dog.jpg"]
    assert split.caption_ids[5] == "dog.jpg#0"


def test_the_split_is_the_one_that_was_asked_for(tmp_path: Path) -> None:
    write(tmp_path, features(2), 10)
    np.save(tmp_path / "dev_ims.npy", features(1))
    (tmp_path / "dev_caps.txt").write_text("a\nb\n")
    split = read_split(str(tmp_path), "dev")
    assert (split.name, len(split.regions), split.captions) == ("dev", 1, ["a", "b"])


def test_features_stay_on_disk_until_they_are_used(tmp_path: Path) -> None:
    assert isinstance(read_split(write(tmp_path, features(2), 10), "test").regions, np.memmap)


def test_captions_are_read_as_unicode(tmp_path: Path) -> None:
    write(tmp_path, features(1))
    (tmp_path / "test_caps.txt").write_text("ein Hündchen\n一只狗\n", encoding="utf-8")
    assert read_split(tmp_path, "test").captions == ["ein Hündchen", "一只狗"]


@pytest.mark.parametrize("separator", ["\x0b", "\x0c", "\x1c", "\x85", "\u2028"])
def test_a_caption_ends_at_a_line_feed_and_nowhere_else(separator: str, tmp_path: Path) -> None:
    write(tmp_path, features(2))
    text = f"a dog{separator}on grass\ntwo cats\r\n"
    (tmp_path / "test_caps.txt").write_bytes(text.encode())
    assert len(read_split(tmp_path, "test").captions) == 2


def test_missing_features_name_both_files(tmp_path: Path) -> None:
    message = refusal(write(tmp_path, captions=5))
    assert "test_ims.npy or test_feat.npy" in message
    assert "--split" in message


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    assert "absent" in refusal(tmp_path / "absent")


def test_missing_captions_are_named(tmp_path: Path) -> None:
    assert "test_caps.txt: no such file" in refusal(write(tmp_path, features(2)))


def test_counts_that_do_not_fit_are_both_named(tmp_path: Path) -> None:
    message = refusal(write(tmp_path, features(3), 10))
    assert "10 lines" in message
    assert "3 rows" in message


@pytest.mark.parametrize(("images", "captions"), [(0, 5), (2, 0), (0, 0)])
def test_an_empty_split_is_refused(images: int, captions: int, tmp_path: Path) -> None:
    assert "is empty" in refusal(write(tmp_path, features(images), captions))


@pytest.mark.parametrize("count", [1, 3, 9, 11])
def test_ids_that_do_not_fit_the_images_are_refused(count: int, tmp_path: Path) -> None:
    message = refusal(write(tmp_path, features(2), 10, [str(n) for n in range(count)]))
    assert f"{count} ids for 2 images" in message


def test_an_id_of_two_images_is_named(tmp_path: Path) -> None:
    message = refusal(write(tmp_path, features(3), 15, ["a", "b", "a"]))
    assert "'a' stands for two images" in message


def test_of_different_ids_a_caption_the_first_names_the_image(tmp_path: Path) -> None:
    ids = [f"cat{n}" for n in range(5)] + [f"dog{n}" for n in range(5)]
    assert read_split(write(tmp_path, features(2), 10, ids), "test").image_ids == ["cat0", "dog0"]


@pytest.mark.parametrize("kept", [0, 5, 60, 127, 128, 150])
def test_a_truncated_feature_file_is_refused(kept: int, tmp_path: Path) -> None:
    write(tmp_path, features(3), 15)
    path = tmp_path / "test_ims.npy"
    path.write_bytes(path.read_bytes()[:kept])
    assert "test_ims.npy" in refusal(tmp_path)


class Payload:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple:
        return exec, (f"open({str(self.target)!r}, 'w').close()",)


def test_a_pickled_feature_file_is_refused_and_never_runs(tmp_path: Path) -> None:
    evidence = tmp_path / "executed"
    content = np.empty(1, object)
    content[0] = Payload(evidence)
    np.save(write(tmp_path, captions=5) / "test_ims.npy", content, allow_pickle=True)
    np.load(tmp_path / "test_ims.npy", allow_pickle=True)
    assert evidence.exists(), "the payload would do nothing anyway"
    evidence.unlink()
    assert "test_ims.npy" in refusal(tmp_path)
    assert not evidence.exists()


def test_an_archive_of_arrays_is_refused(tmp_path: Path) -> None:
    write(tmp_path, captions=5)
    with (tmp_path / "test_ims.npy").open("wb") as file:
        np.savez(file, a=features(1))
    assert "test_ims.npy" in refusal(tmp_path)


@pytest.mark.parametrize("shape", [(5,), (5, 4), (5, 3, 4, 1)])
def test_features_of_another_rank_are_refused_with_their_shape(
    shape: tuple[int, ...], tmp_path: Path
) -> None:
    assert str(list(shape)) in refusal(write(tmp_path, np.zeros(shape), 5))


def test_captions_that_are_not_utf_8_are_refused(tmp_path: Path) -> None:
    write(tmp_path, features(1))
    (tmp_path / "test_caps.txt").write_bytes(b"caf\xe9\n")
    assert "UTF-8" in refusal(tmp_path)


def test_images_that_share_a_region_are_not_taken_for_one(tmp_path: Path) -> None:
    features = np.random.default_rng(0).random((10, 4, 3), np.float32)
    features[:, 0] = 0
    np.save(tmp_path / "test_ims.npy", features)
    (tmp_path / "test_caps.txt").write_text("a caption\n" * 10)
    assert len(read_split(tmp_path, "test").image_ids) == 10
