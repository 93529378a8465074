from __future__ import annotations

import json
import logging
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from itr_deploy.errors import InputError, SetupError
from itr_deploy.evaluation.data.sources.opening import open_source
from itr_deploy.evaluation.data.sources.source import Item
from tests.support.extractors import (
    Extracted,
    extracted,
    hdf5_of_any_length,
    hdf5_of_captioning,
    hdf5_of_groups,
    hdf5_of_names,
    hdf5_of_vqa,
    spatial,
)

RAGGED, EQUAL = extracted([3, 2]), extracted([3, 3])


def everything(path: Path) -> dict[str, Item]:
    source = open_source(path)
    return {entry.id: source.read(entry) for entry in source.entries(lambda done, total: None)}


def compare(found: Item, expected: Extracted, *, boxes: bool = True, size: bool = True) -> None:
    np.testing.assert_array_equal(found.features, expected.features)
    if boxes:
        np.testing.assert_array_equal(found.boxes, expected.boxes)
    else:
        assert found.boxes is None
    assert found.size == (expected.size if size else None)


WHOLE = [(hdf5_of_vqa, EQUAL), (hdf5_of_vqa, RAGGED), (hdf5_of_groups, RAGGED)]


@pytest.mark.parametrize(("write", "items"), [*WHOLE, (hdf5_of_any_length, RAGGED)])
def test_a_layout_is_told_by_what_it_holds(
    write: Callable[..., Path], items: list[Extracted], tmp_path: Path
) -> None:
    found = everything(write(tmp_path / "data.hdf5", items))
    assert found.keys() == {item.id for item in items}
    for item in items:
        compare(found[item.id], item)


def test_layouts_without_sizes_of_pictures_lack_them(tmp_path: Path) -> None:
    found = everything(hdf5_of_captioning(tmp_path / "a.h5", RAGGED))
    alone = everything(hdf5_of_names(tmp_path / "b.h5", RAGGED))
    for item in RAGGED:
        compare(found[item.id], item, size=False)
        compare(alone[item.id], item, boxes=False, size=False)


def test_a_pictures_size_is_found_by_its_boxes_in_pixels_and_in_fractions(tmp_path: Path) -> None:
    items = [Extracted(**{**vars(EQUAL[0]), "size": size}) for size in [(500, 333), (9001, 7)]]
    for number, item in enumerate(items):
        path = hdf5_of_vqa(tmp_path / f"{number}.hdf5", [item])
        assert everything(path)[item.id].size == item.size


def test_padded_rows_are_cut_to_their_counts_and_fractions_become_pixels(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "data.h5", "w") as file:
        pad = [((0, 4 - len(item.features)), (0, 0)) for item in RAGGED]
        given = list(zip(RAGGED, pad, strict=True))
        file["features"] = np.stack([np.pad(item.features, own) for item, own in given])
        file["bboxes"] = np.stack([np.pad(spatial(item)[:, :4], own) for item, own in given])
        file["num_boxes"] = [3, 2]
        file["image_w"], file["image_h"] = np.transpose([item.size for item in RAGGED])
        file["image_ids"] = np.array(["a.jpg", "b.jpg"], dtype="S")
    found = everything(tmp_path / "data.h5")
    for name, item in zip(["a.jpg", "b.jpg"], RAGGED, strict=True):
        np.testing.assert_array_equal(found[name].features, item.features)
        np.testing.assert_allclose(found[name].boxes, item.boxes, rtol=1e-5)
        assert found[name].size == item.size


def test_boxes_in_fractions_of_unknown_pictures_are_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with h5py.File(tmp_path / "data.h5", "w") as file:
        file["image_features"] = np.stack([item.features for item in EQUAL])
        file["image_bb"] = np.stack([spatial(item)[:, :4] for item in EQUAL])
    (tmp_path / "data_ids.txt").write_text("a\nb\n")
    with caplog.at_level(logging.WARNING):
        found = everything(tmp_path / "data.h5")
    assert [item.boxes for item in found.values()] == [None, None]
    assert "its boxes are fractions of pictures whose sizes it does not hold" in caplog.text


def test_ids_are_lines_or_rows_in_json_beside_the_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = hdf5_of_vqa(tmp_path / "train36.hdf5", EQUAL)
    (tmp_path / "train36_imgid2idx.json").write_text('{"7": 1}')
    with caplog.at_level(logging.WARNING):
        found = everything(path)
    compare(found["7"], EQUAL[1])
    assert "1 of 2 rows have no id" in caplog.text
    (tmp_path / "train36_ids.txt").write_text("one\ntwo\n")
    assert list(everything(path)) == ["one", "two"]


def test_a_pickle_of_ids_is_not_read_and_the_message_says_what_makes_json_of_it(
    tmp_path: Path,
) -> None:
    path = hdf5_of_vqa(tmp_path / "train36.hdf5", EQUAL)
    (tmp_path / "train36_imgid2idx.json").unlink()
    with pytest.raises(InputError, match=r"whose its rows are; put train36_ids.txt, one id a line"):
        everything(path)
    (tmp_path / "train36_imgid2idx.pkl").write_bytes(pickle.dumps({1000: 0, 999: 1}, protocol=2))
    with pytest.raises(
        InputError, match=r"train36_imgid2idx.pkl is a pickle, .*: python -c"
    ) as why:
        everything(path)
    command = str(why.value).partition(": python")[2]
    subprocess.run(f"{sys.executable}{command}", shell=True, cwd=tmp_path, check=True)
    assert list(everything(path)) == ["1000", "999"]


def test_the_files_of_a_folder_are_one_source(tmp_path: Path) -> None:
    hdf5_of_vqa(tmp_path / "train36.hdf5", EQUAL[:1])
    hdf5_of_vqa(tmp_path / "val36.hdf5", EQUAL[1:])
    found = everything(tmp_path)
    assert list(found) == ["1000", "999"]
    compare(found["999"], EQUAL[1])


def vqa(**changed: Any) -> Callable[[Path], object]:
    """A file of two images of three regions with some arrays changed, or left out if None."""

    def write(path: Path) -> None:
        ranges = "pos_boxes" in changed
        hdf5_of_vqa(path, EQUAL, ranges=ranges)
        with h5py.File(path, "a") as file:
            for name, values in changed.items():
                if name in file:
                    del file[name]
                if values is not None:
                    file[name] = values

    return write


def groups(**changed: Any) -> Callable[[Path], object]:
    """A group an image, of which those of one are changed."""

    def write(path: Path) -> None:
        hdf5_of_groups(path, EQUAL)
        with h5py.File(path, "a") as file:
            for name, values in changed.items():
                if name in file["999"]:
                    del file["999"][name]
                if values is not None:
                    file["999"][name] = values

    return write


def named(arrays: dict[Any, Any] | None = None, **others: Any) -> Callable[[Path], object]:
    arrays = {**(arrays or {}), **others}

    def write(path: Path) -> None:
        with h5py.File(path, "w") as file:
            for name, values in arrays.items():
                file[name] = values

    return write


ONES = np.ones((3, 8), np.float32)


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (named(), "is HDF5 of no layout that is read: it holds nothing; expected image_features"),
        (
            named(feats=np.ones((2, 3, 8)), **{f"a{n}": 1 for n in range(8)}),
            r"it holds a0 int64 \[\], .* and 3 more; expected image_features",
        ),
        (named({b"a\xff": ONES}), r"the name b'a\\xff' in it is not UTF-8"),
        (vqa(image_features=np.ones((2, 3, 8), int)), r"features are image_features int64"),
        (vqa(image_features=np.ones((2, 8))), r"expected floats \[images, regions, features\]"),
        (vqa(features=ONES), "holds both image_features and features"),
        (
            vqa(image_bb=np.ones((2, 2, 4))),
            r"image_bb float64 \[2, 2, 4\]; expected .* \[2, 3, 4\]",
        ),
        (vqa(image_bb=np.full((2, 3, 4), b"a")), r"image_bb \|S1 \[2, 3, 4\]; expected numbers"),
        (vqa(spatial_features=np.ones((2, 3, 6))), "are not of one picture: they differ by"),
        (vqa(spatial_features=np.zeros((2, 3, 6))), r"image '1000': its picture is nan x nan"),
        (vqa(pos_boxes=[[0, 3], [3, 7]]), "image '999': its rows are 3 to 7 by pos_boxes; there"),
        (vqa(pos_boxes=[[0, 3], [3, 2]]), "image '999': its rows are 3 to 2 by pos_boxes"),
        (vqa(pos_boxes=[[0.0, 3.0]]), r"pos_boxes float64 \[1, 2\]; expected numbers \[any, 2\]"),
        (vqa(num_boxes=[3, 4]), "image '999': has 4 regions by its count; there are 3 rows"),
        (vqa(num_boxes=[3]), "1 counts of regions for 2 rows"),
        (vqa(image_ids=[3]), r"image_ids int64 \[1\] for 2 rows of features"),
        (vqa(image_ids=[0.5, 1]), "expected whole numbers or texts as ids"),
        (vqa(image_ids=np.array([b"\xff", b"a"])), "is not UTF-8"),
        (
            groups(features=None),
            "image '999': no array image_features or .*; it holds bbox float32",
        ),
        (
            groups(features=np.ones(3)),
            r"image '999': features are features float64 \[3\]; expected",
        ),
        (groups(bbox=np.ones((2, 4))), r"image '999': bbox float64 \[2, 4\]; expected .* \[3, 4\]"),
        (groups(num_boxes=4), "image '999': has 4 regions by its count; there are features of 3"),
        (groups(num_boxes=[1, 2]), r"num_boxes is int64 \[2\]; expected one number"),
        (groups(image_w=0), "image '999': its picture is 0 x 480 pixels"),
        (groups(features=h5py.SoftLink("/1000/features")), "image '999': 'features' is a link"),
        (groups(features=h5py.ExternalLink("/etc/passwd", "/")), "'features' is a link"),
        (named(a_features=ONES, other=ONES), "'other' is of no image: there is no other_features"),
        (named(a_features=ONES, b_features=ONES[0]), r"'b': features are b_features float32 \[8\]"),
        (named(a_features=ONES, a_boxes=np.ones((3, 5))), r"a_boxes float64 \[3, 5\]; expected"),
        (named(a=ONES, b=ONES.astype(int)), r"image 'b': features are b int64 \[3, 8\]"),
        (named(a=h5py.ExternalLink("/etc/passwd", "/")), "'a' is a link, which is not followed"),
    ],
)
def test_what_does_not_fit_is_named_in_one_line(
    write: Callable[[Path], object], said: str, tmp_path: Path
) -> None:
    write(tmp_path / "data.hdf5")
    with pytest.raises(InputError, match=rf"^[^\n]*/data.hdf5: [^\n]*{said}[^\n]*$"):
        everything(tmp_path / "data.hdf5")


def test_values_that_lie_in_other_files_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(bytes(96))
    path = tmp_path / "data.h5"
    with h5py.File(path, "w") as file:
        external = [(str(tmp_path / "secret"), 0, 96)]
        file.create_dataset("a", (3, 8), np.float32, external=external)
    with pytest.raises(InputError, match="the values of 'a' are in other files"):
        everything(path)
    with h5py.File(path, "w") as file:
        virtual = h5py.VirtualLayout((3, 8), np.float32)
        virtual[:] = h5py.VirtualSource(str(tmp_path / "secret"), "a", (3, 8))
        file.create_virtual_dataset("a", virtual)
    with pytest.raises(InputError, match="the values of 'a' are in other files"):
        everything(path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "is not JSON"),
        ("[]", "holds a list; expected a row for each id"),
        ('{"a": 2}', "the row of 'a' is 2; expected a number from 0 to 1"),
        ('{"a": true}', "the row of 'a' is True"),
        ('{"a": 1, "b": 1}', "row 1 belongs to two ids"),
        ('{"": 1}', "'' is no id of an image"),
        (json.dumps({"a": "0"}), "the row of 'a' is 0"),
    ],
)
def test_ids_in_json_that_do_not_fit_are_refused(content: str, said: str, tmp_path: Path) -> None:
    path = hdf5_of_vqa(tmp_path / "data.hdf5", EQUAL)
    (tmp_path / "data_imgid2idx.json").write_text(content)
    with pytest.raises(InputError, match=rf"^[^\n]*data_imgid2idx.json: {said}[^\n]*$"):
        everything(path)
    (tmp_path / "data_ids.txt").write_text("a\n")
    with pytest.raises(InputError, match=r"data_ids.txt: 1 ids for 2 rows of data.hdf5"):
        everything(path)


@pytest.mark.parametrize("kept", [0.2, 0.6, 0.95])
@pytest.mark.parametrize(("write", "items"), WHOLE)
def test_a_file_that_is_cut_off_is_one_line(
    write: Callable[..., Path], items: list[Extracted], kept: float, tmp_path: Path
) -> None:
    path = write(tmp_path / "data.hdf5", items)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(InputError, match=r"^[^\n]*/data.hdf5: cannot be read: [^\n]*$"):
        everything(path)


def test_without_h5py_the_message_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = hdf5_of_names(tmp_path / "data.h5", EQUAL)
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(
        SetupError, match=r"h5py, .* not installed; pip install 'itr-deploy\[hdf5\]"
    ):
        everything(path)
