from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from itr_deploy.errors import InputError
from itr_deploy.evaluation.data.sources.opening import open_source
from itr_deploy.evaluation.data.sources.source import Item
from tests.support.extractors import Extracted, extracted, row, table

ITEMS = extracted([3, 2])


def everything(path: Path) -> dict[str, Item]:
    source = open_source(path)
    return {entry.id: source.read(entry) for entry in source.entries(lambda done, total: None)}


def compare(found: Item, expected: Extracted) -> None:
    np.testing.assert_array_equal(found.features, expected.features)
    np.testing.assert_array_equal(found.boxes, expected.boxes)
    assert found.size == expected.size


@pytest.mark.parametrize("lxmert", [False, True], ids=["caffe", "lxmert"])
def test_a_line_is_an_image_with_its_boxes_and_size(lxmert: bool, tmp_path: Path) -> None:
    rows = [row(item, lxmert=lxmert) for item in ITEMS]
    found = everything(table(tmp_path / "regions.tsv", rows))
    assert list(found) == ["1000", "999"]
    for item in ITEMS:
        compare(found[item.id], item)


def test_a_field_may_be_larger_than_the_csv_module_takes(tmp_path: Path) -> None:
    (item,) = extracted([100], width=2048)
    fields = row(item)
    assert len(fields[-1]) > 1 << 20
    compare(everything(table(tmp_path / "regions.tsv", [fields]))[item.id], item)


def test_the_parts_of_a_table_are_read_in_their_order(tmp_path: Path) -> None:
    table(tmp_path / "vg.tsv.1", [row(ITEMS[1])])
    table(tmp_path / "vg.tsv.0", [row(ITEMS[0])])
    (tmp_path / "readme.txt").write_text("of 2015")
    found = everything(tmp_path)
    assert list(found) == ["1000", "999"]
    compare(found["999"], ITEMS[1])


def test_blank_lines_carriage_returns_and_a_missing_last_line_feed_are_no_harm(
    tmp_path: Path,
) -> None:
    path = tmp_path / "regions.tsv"
    path.write_bytes("\r\n\r\n".join("\t".join(row(item)) for item in ITEMS).encode())
    found = everything(path)
    for item in ITEMS:
        compare(found[item.id], item)


def changed(place: int, value: str) -> list[str]:
    fields = row(ITEMS[1])
    fields[place] = value
    return fields


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (row(ITEMS[1])[:5], r"has 5 fields; expected 6 .*image_id, image_w, image_h, num_boxes"),
        (changed(0, " "), "' ' is no id of an image"),
        (changed(0, "a\0b"), "is no id of an image"),
        (changed(1, "wide"), r"image '999': its picture is 'wide' x '480'; expected pixels"),
        (changed(2, "0"), r"image '999': its picture is 641 x 0 pixels"),
        (changed(3, "two"), r"image '999': num_boxes is 'two'"),
        (changed(3, "3"), r"image '999': boxes have 32 bytes; 3 boxes of float32 have 48"),
        (changed(3, "-1"), r"image '999': num_boxes is '-1'"),
        (changed(5, row(ITEMS[1])[5][:-4]), r"features have \d+ bytes, which 2 regions"),
        (changed(5, row(ITEMS[1])[5][:-3]), r"features are no base64: 85 characters"),
        (changed(5, ""), r"features have 0 bytes, which 2 regions"),
        (changed(5, "?" + row(ITEMS[1])[5][1:]), r"image '999': features are no base64 of float32"),
        (changed(4, "\x7f" + row(ITEMS[1])[4][1:]), r"image '999': boxes are no base64 of float32"),
        (
            ["image_id", "image_w", "image_h", "num_boxes", "boxes", "features"],
            "names the columns",
        ),
    ],
)
def test_a_line_that_is_none_is_named(fields: list[str], said: str, tmp_path: Path) -> None:
    path = table(tmp_path / "regions.tsv", [row(ITEMS[0]), fields])
    with pytest.raises(InputError, match=rf"^[^\n]*regions.tsv: line 2[^\n]*{said}[^\n]*$"):
        everything(path)


@pytest.mark.parametrize("lost", [5, 60, 130])
def test_a_last_line_that_is_cut_off_is_called_truncated(lost: int, tmp_path: Path) -> None:
    path = table(tmp_path / "regions.tsv", [row(item) for item in ITEMS])
    path.write_bytes(path.read_bytes()[:-lost])
    with pytest.raises(InputError, match=r"regions.tsv: line 2.*may be truncated$"):
        everything(path)


def test_a_name_that_is_no_utf_8_is_named(tmp_path: Path) -> None:
    path = tmp_path / "regions.tsv"
    path.write_bytes(b"\xff" + "\t".join(row(ITEMS[0])).encode() + b"\n")
    with pytest.raises(InputError, match=r"regions.tsv: line 1: its image_id is not UTF-8$"):
        everything(path)


def test_a_file_without_lines_is_no_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("itr_deploy.evaluation.data.sources.tsv.LONGEST", 1000)
    (tmp_path / "regions.tsv").write_bytes(b"x" * 2000)
    with pytest.raises(InputError, match="line 1 has more than 1,000 bytes"):
        everything(tmp_path / "regions.tsv")


def test_base64_that_python_printed_as_bytes_is_told(tmp_path: Path) -> None:
    fields = row(ITEMS[0])
    printed = [*fields[:-2], *(f"b'{field}'" for field in fields[-2:])]
    path = table(tmp_path / "regions.tsv", [printed])
    with pytest.raises(
        InputError, match=r"line 1, image '1000': boxes begin with b'.* \.decode\(\)"
    ):
        everything(path)
