from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from itr_deploy.deploy.searching import read_regions
from itr_deploy.errors import InputError, UsageError
from itr_deploy.evaluation.data.features import find_features, open_features
from itr_deploy.evaluation.data.split import read_images

REGIONS = np.random.default_rng(0).standard_normal((4, 3, 8), dtype=np.float32)


def test_images_need_no_captions(tmp_path: Path) -> None:
    np.save(tmp_path / "test_ims.npy", REGIONS)
    found = read_images(tmp_path, "test")
    assert found.ids == ["0", "1", "2", "3"]
    np.testing.assert_array_equal(found.regions, REGIONS)


def test_images_take_captions_in_any_number(tmp_path: Path) -> None:
    np.save(tmp_path / "test_ims.npy", REGIONS)
    (tmp_path / "test_caps.txt").write_text("a dog\n" * 21)
    (tmp_path / "test_ids.txt").write_text("a\nb\nc\nd\n")
    assert read_images(tmp_path, "test").ids == list("abcd")


def test_images_that_are_there_five_times_are_taken_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    np.save(tmp_path / "test_ims.npy", np.repeat(REGIONS, 5, axis=0))
    (tmp_path / "test_ids.txt").write_text("".join(f"{name}\n" * 5 for name in "abcd"))
    assert read_images(tmp_path, "test").ids == list("abcd")
    assert "taken once" in caplog.text


def test_ids_that_are_not_one_per_image_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "test_ims.npy", REGIONS)
    (tmp_path / "test_ids.txt").write_text("".join(f"{n}\n" for n in range(8)))
    with pytest.raises(InputError, match="'0' and '1' differ; expected one id per image"):
        read_images(tmp_path, "test")


def test_equal_images_with_ids_of_their_own_stay(tmp_path: Path) -> None:
    np.save(tmp_path / "test_ims.npy", np.repeat(REGIONS, 5, axis=0))
    (tmp_path / "test_ids.txt").write_text("".join(f"{n}\n" for n in range(20)))
    assert len(read_images(tmp_path, "test").ids) == 20


def ragged(root: Path) -> None:
    rows = np.empty(4, object)
    rows[:] = [REGIONS[n, : n + 1] for n in range(4)]
    np.save(root / "test_ims.npy", rows, allow_pickle=True)


def archives(root: Path) -> None:
    for number in range(4):
        np.savez(root / f"{number}.npz", x=REGIONS[number])


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (ragged, "an array of objects, one per image"),
        (archives, r"4 \.npz files, such as '0.npz'; itr_deploy.convert"),
        (lambda root: np.savez(root / "test_ims.npz", REGIONS), r"test_ims.npz is an archive"),
        (lambda root: (root / "resnet.tsv").write_text("0\t1"), r"'resnet.tsv' is an extractor's"),
        (lambda root: np.savez((root / "test_ims.npy").open("wb"), REGIONS), "an archive"),
        (lambda root: (root / "test_ims.npy").write_bytes(b"\x80\x04K\x01."), "not a NumPy array"),
        (lambda root: None, "check data= and split="),
    ],
)
def test_other_layouts_are_named_with_the_way_to_convert_them(make, said, tmp_path: Path) -> None:
    make(tmp_path)
    with pytest.raises(InputError, match=said) as caught:
        find_features(tmp_path, "test")
    assert "\n" not in str(caught.value)
    assert "pickle" not in str(caught.value)


@pytest.mark.parametrize("split", ["", "x" * 300, "../test", "a\0b"])
def test_a_split_that_no_file_can_be_called_by_is_refused(split: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="split="):
        find_features(tmp_path, split)


def test_a_file_that_is_not_there_is_said_to_be(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"query\.npy: no such file or directory$"):
        read_regions(tmp_path / "query.npy")


@pytest.mark.parametrize(
    "header",
    [
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (10000000000, 36, 102), }",
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (1, (",
        b"{'descr': '<f4', 'shape': (1, 2, 3), }",
    ],
)
def test_a_damaged_header_is_one_line(header: bytes, tmp_path: Path) -> None:
    path = tmp_path / "test_ims.npy"
    content = header + b" " * (117 - len(header)) + b"\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(content).to_bytes(2, "little") + content)
    for read in (open_features, read_regions):
        with pytest.raises(InputError, match="not a NumPy array of numbers, or truncated"):
            read(path)
