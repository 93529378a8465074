from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from itr_deploy.errors import InputError
from itr_deploy.evaluation.data.sources.opening import open_source
from itr_deploy.evaluation.data.sources.source import Item
from tests.support.extractors import extracted, npy_folder, npz_folder

ITEMS = extracted([3, 2])


def everything(path: Path) -> dict[str, Item]:
    source = open_source(path)
    return {entry.id: source.read(entry) for entry in source.entries(lambda done, total: None)}


@pytest.mark.parametrize("padded_to", [0, 5])
def test_an_archive_holds_an_image_and_its_pickle_is_not_read(
    padded_to: int, tmp_path: Path
) -> None:
    found = everything(npz_folder(tmp_path / "npz", ITEMS, padded_to=padded_to))
    assert list(found) == ["1000", "999"]
    for item in ITEMS:
        np.testing.assert_array_equal(found[item.id].features, item.features)
        np.testing.assert_array_equal(found[item.id].boxes, item.boxes)
        assert found[item.id].size == item.size


def test_features_alone_will_do_under_the_name_of_captioning_programs(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "COCO_val2014_42.jpg.npz", feat=ITEMS[0].features)
    found = everything(tmp_path)["COCO_val2014_42.jpg"]
    np.testing.assert_array_equal(found.features, ITEMS[0].features)
    assert (found.boxes, found.size) == (None, None)


def test_arrays_alone_are_images_without_boxes(tmp_path: Path) -> None:
    (tmp_path / ".DS_Store").write_text("x")
    found = everything(npy_folder(tmp_path / "npy", ITEMS))
    for item in ITEMS:
        np.testing.assert_array_equal(found[item.id].features, item.features)
        assert found[item.id].boxes is None


def objects(path: Path) -> None:
    np.save(path, np.array({"features": 1}, object), allow_pickle=True)


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (lambda path: np.save(path, np.ones((5, 3, 8))), r"are float64 \[5, 3, 8\]; expected"),
        (lambda path: np.save(path, np.ones((3, 8), int)), r"are int64 \[3, 8\]; expected"),
        (objects, "are objects, which are not unpickled"),
        (lambda path: path.write_bytes(b"\x93NUMPY\x01\x00"), "cannot be read: "),
        (lambda path: path.write_bytes(b""), "cannot be read: "),
    ],
)
def test_an_array_that_is_no_image_is_named(write: Any, said: str, tmp_path: Path) -> None:
    write(tmp_path / "7.npy")
    with pytest.raises(InputError, match=rf"^[^\n]*/7.npy: [^\n]*{said}[^\n]*$"):
        everything(tmp_path)


def test_an_array_that_is_cut_off_is_named(tmp_path: Path) -> None:
    np.save(tmp_path / "7.npy", np.ones((3, 8)))
    content = (tmp_path / "7.npy").read_bytes()
    (tmp_path / "7.npy").write_bytes(content[:-8])
    with pytest.raises(InputError, match=r"/7.npy: cannot be read: "):
        everything(tmp_path)


GOOD = {"x": np.ones((3, 8), np.float32), "bbox": np.ones((3, 4)), "image_w": 5, "image_h": 5}


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"y": np.ones(3)}, "no array x or feat; it holds y"),
        ({**GOOD, "num_bbox": 4}, "num_bbox is 4; there are features of 3 regions"),
        ({**GOOD, "num_bbox": -1}, "num_bbox is -1"),
        ({**GOOD, "num_bbox": np.ones(2)}, r"num_bbox is float64 \[2\]; expected one number"),
        ({**GOOD, "bbox": np.ones((2, 4))}, r"bbox is float64 \[2, 4\]; expected numbers \[3, 4\]"),
        ({**GOOD, "bbox": np.full((3, 4), "a")}, r"bbox is <U1 \[3, 4\]"),
        ({**GOOD, "image_w": 0}, "its picture is 0 x 5 pixels"),
        ({**GOOD, "image_h": np.nan}, "its picture is 5 x nan pixels"),
        ({**GOOD, "x": np.array([None])}, "features are objects, which are not unpickled"),
    ],
)
def test_an_archive_that_is_no_image_is_named(
    arrays: dict[str, Any], said: str, tmp_path: Path
) -> None:
    np.savez(tmp_path / "7.npz", **arrays)
    with pytest.raises(InputError, match=rf"^[^\n]*/7.npz: {said}[^\n]*$"):
        everything(tmp_path)


def test_an_archive_that_is_cut_off_is_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "7.npz", **GOOD)
    content = (tmp_path / "7.npz").read_bytes()
    (tmp_path / "7.npz").write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=r"^[^\n]*/7.npz: cannot be read: [^\n]*$"):
        everything(tmp_path)


@pytest.mark.parametrize(
    ("start", "said"),
    [
        (b"PK\x03\x04", "is an archive; give the folder"),
        (b"\x93NUMPY\x01\x00", "is one array; give the folder"),
        (b"\x1f\x8b\x08", "is compressed; unpack it"),
    ],
)
def test_a_file_of_another_format_is_told_from_a_table(
    start: bytes, said: str, tmp_path: Path
) -> None:
    (tmp_path / "data").write_bytes(start + bytes(20))
    with pytest.raises(InputError, match=rf"/data: {said}"):
        open_source(tmp_path / "data")


def test_a_folder_holds_one_kind_of_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no .tsv, .npz, .npy, .hdf5 files; check the folder$"):
        open_source(tmp_path)
    np.save(tmp_path / "7.npy", np.ones((3, 8)))
    np.savez(tmp_path / "7.npz", **GOOD)
    with pytest.raises(InputError, match=r"1 .npz and 1 .npy files; give a folder with one kind"):
        open_source(tmp_path)
    with pytest.raises(InputError, match=r"/absent: cannot be read: No such file"):
        open_source(tmp_path / "absent")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.h5", b"<html>not found", "begins with b'<html>no' and is no HDF5"),
        ("a.hdf5", b"", "begins with b'' and is no HDF5"),
        ("a.pkl", pickle.dumps({"a": 1}), "is a pickle, which is not read"),
    ],
)
def test_a_file_that_is_not_what_its_name_says_is_not_read_as_a_table(
    name: str, content: bytes, said: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=said):
        open_source(tmp_path / name)
