from __future__ import annotations

import logging
import tracemalloc
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from itr_deploy import Gallery, InputError, OutputError, UsageError, convert, index
from itr_deploy.evaluation.data.split import Images, read_images
from tests.support.command import itr_deploy
from tests.support.extractors import Extracted, extracted, npy_folder, npz_folder, row, table
from tests.support.files import largest_file, tree

WRITE = {
    "tsv": lambda path, items: table(path, [row(item) for item in items]),
    "npz": npz_folder,
    "npy": npy_folder,
}


def compare(found: Images, items: list[Extracted], *, placed: bool) -> None:
    """What is read back is what the extractor found, padded with zeros."""
    assert found.ids == [item.id for item in items]
    given = found.given
    counts = [len(item.features) for item in items]
    if len(set(counts)) > 1:
        np.testing.assert_array_equal(given.counts, counts)
    else:
        assert given.counts is None
    for number, item in enumerate(items):
        np.testing.assert_array_equal(given.features[number, : counts[number]], item.features)
        assert not given.features[number, counts[number] :].any()
        if placed:
            np.testing.assert_array_equal(given.boxes[number, : counts[number]], item.boxes)
            np.testing.assert_array_equal(given.picture_sizes[number], item.size)
    assert (given.boxes is not None) == placed == (given.picture_sizes is not None)


@given(
    form=st.sampled_from(sorted(WRITE)),
    counts=st.lists(st.integers(1, 5), min_size=1, max_size=5),
    width=st.integers(1, 9),
    seed=st.integers(0, 100),
)
@settings(deadline=None, max_examples=40)
def test_what_is_written_reads_back_equal(
    form: str, counts: list[int], width: int, seed: int
) -> None:
    items = extracted(counts, width, seed)
    with TemporaryDirectory() as folder:
        source = WRITE[form](Path(folder) / "source", items)
        made = convert(source, output=Path(folder) / "data", split="dev")
        in_order = items if form == "tsv" else sorted(items, key=lambda item: f"{item.id}.")
        compare(read_images(Path(folder) / "data", "dev"), in_order, placed=form != "npy")
    assert (made.images, made.feature_dim, made.repeated) == (len(items), width, 0)
    assert (made.least_regions, made.most_regions) == (min(counts), max(counts))
    assert made.boxes == (form != "npy")


def lines(path: Path, ids: list[str]) -> Path:
    path.write_text("".join(f"{name}\n" for name in ids))
    return path


def test_ids_choose_and_order_the_images(tmp_path: Path) -> None:
    items = extracted([3, 2, 4])
    source = WRITE["tsv"](tmp_path / "r.tsv", items)
    convert(source, output=tmp_path / "data", ids=lines(tmp_path / "ids.txt", ["998", "1000"]))
    compare(read_images(tmp_path / "data", "test"), [items[2], items[0]], placed=True)


@pytest.mark.parametrize(
    ("ids", "said"),
    [
        (["1000", "7", "8"], "2 of 3 ids are not in .*r.tsv, the first on line 2: '7'; .*'1000'"),
        (["1000", "1000"], "id '1000' is there twice"),
        (["1000", "", "999"], "line 2 is blank"),
        ([], "no ids in it; give one a line"),
    ],
)
def test_ids_that_do_not_fit_are_refused(ids: list[str], said: str, tmp_path: Path) -> None:
    source = WRITE["tsv"](tmp_path / "r.tsv", extracted([3, 2]))
    chosen = lines(tmp_path / "ids.txt", ids)
    with pytest.raises(InputError, match=rf"^[^\n]*{said}[^\n]*$"):
        convert(source, output=tmp_path / "data", ids=chosen)
    assert not (tmp_path / "data").exists()


def test_a_file_of_ids_that_is_missing_is_named(tmp_path: Path) -> None:
    source = WRITE["tsv"](tmp_path / "r.tsv", extracted([3, 2]))
    with pytest.raises(InputError, match=r"/ids.txt: no such file; check ids= \(--ids\)"):
        convert(source, output=tmp_path / "data", ids=tmp_path / "ids.txt")


def test_of_an_image_that_is_there_twice_the_first_is_kept_and_a_warning_counts(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    items = extracted([3, 3])
    again = [row(item) for item in extracted([2, 2], seed=1)]
    source = table(tmp_path / "r.tsv", [*map(row, items), *again])
    with caplog.at_level(logging.WARNING):
        made = convert(source, output=tmp_path / "data")
    assert (made.images, made.repeated) == (2, 2)
    assert "2 entries are of images that came before, such as '1000'" in caplog.text
    compare(read_images(tmp_path / "data", "test"), items, placed=True)


def test_features_of_another_width_are_named_with_their_line(tmp_path: Path) -> None:
    other = extracted([3, 2], width=6)[1]
    source = table(tmp_path / "r.tsv", [row(extracted([3])[0]), row(other)])
    with pytest.raises(
        InputError, match=r"r.tsv: line 2, image '999': has 6 features a region; '1000' has 8$"
    ):
        convert(source, output=tmp_path / "data")


def test_an_image_without_regions_is_refused_unless_it_is_left_out(tmp_path: Path) -> None:
    items = extracted([3, 0])
    source = WRITE["tsv"](tmp_path / "r.tsv", items)
    with pytest.raises(InputError, match=r"line 2, image '999': has no regions; .*ids="):
        convert(source, output=tmp_path / "data")
    convert(source, output=tmp_path / "data", ids=lines(tmp_path / "ids.txt", ["1000"]))
    compare(read_images(tmp_path / "data", "test"), items[:1], placed=True)


@pytest.mark.parametrize(
    ("value", "said"),
    [(np.nan, "hold NaN or infinity"), (np.inf, "hold NaN or infinity"), (0, "region 1 is all 0")],
)
def test_features_that_no_extractor_gives_leave_nothing_behind(
    value: float, said: str, tmp_path: Path
) -> None:
    items = extracted([3, 2])
    items[1].features[1] = value
    source = WRITE["tsv"](tmp_path / "r.tsv", items)
    with pytest.raises(InputError, match=rf"r.tsv: line 2, image '999': .*{said}"):
        convert(source, output=tmp_path / "data")
    assert [path.name for path in tmp_path.iterdir()] == ["r.tsv"]


def test_boxes_that_some_images_lack_are_left_out_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    items = extracted([3, 3])
    source = npz_folder(tmp_path / "npz", items)
    np.savez(source / "999.npz", x=items[1].features, bbox=items[1].boxes)
    with caplog.at_level(logging.WARNING):
        made = convert(source, output=tmp_path / "data")
    assert not made.boxes
    assert "1 of 2 images lack boxes or the picture's size" in caplog.text
    compare(read_images(tmp_path / "data", "test"), items, placed=False)


def test_half_precision_becomes_float32(tmp_path: Path) -> None:
    features = extracted([3])[0].features.astype(np.float16)
    np.save(tmp_path / "7.npy", features)
    convert(tmp_path, output=tmp_path / "data")
    found = read_images(tmp_path / "data", "test").regions
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found[0], features)


def test_an_output_is_replaced_by_force_alone_and_only_if_it_is_this_splits(
    tmp_path: Path,
) -> None:
    source, output = WRITE["tsv"](tmp_path / "r.tsv", extracted([3, 2])), tmp_path / "data"
    convert(source, output=output)
    before = tree(output)
    with pytest.raises(OutputError, match=r"exists; give force=True \(--force\)"):
        convert(source, output=output)
    with pytest.raises(OutputError, match="exists and is not a converted split"):
        convert(source, output=output, split="dev", force=True)
    one = lines(tmp_path / "ids.txt", ["1000"])
    assert tree(output) == before
    convert(source, output=output, force=True, ids=one)
    assert not (output / "test_region_counts.npy").exists()
    (output / "test_caps.txt").write_text("a dog\n")
    with pytest.raises(OutputError, match="or holds other files"):
        convert(source, output=output, force=True)


def test_a_split_whose_name_no_file_can_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"split='a/b' \(--split\)"):
        convert(tmp_path, output=tmp_path / "data", split="a/b")


def test_a_full_disk_is_one_clear_error_and_leaves_nothing(tmp_path: Path) -> None:
    source = WRITE["tsv"](tmp_path / "r.tsv", extracted([30, 30], width=2048))
    with largest_file(300_000), pytest.raises(OutputError, match=r"cannot write .*data: "):
        convert(source, output=tmp_path / "data")
    assert [path.name for path in tmp_path.iterdir()] == ["r.tsv"]


def test_memory_does_not_grow_with_the_source(tmp_path: Path) -> None:
    items = extracted([100] * 12, width=2048)
    source = WRITE["tsv"](tmp_path / "r.tsv", items)
    tracemalloc.start()
    try:
        convert(source, output=tmp_path / "data")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    size = (tmp_path / "data" / "test_ims.npy").stat().st_size
    assert size > 12 * 100 * 2048 * 4
    assert peak < size / 1.5


def test_images_without_captions_are_indexed_with_their_boxes(bundle: Path, tmp_path: Path) -> None:
    items = extracted([4, 3], width=32)
    convert(WRITE["tsv"](tmp_path / "r.tsv", items), output=tmp_path / "data")
    index(bundle, data=tmp_path / "data", output=tmp_path / "gallery")
    gallery = Gallery.open(tmp_path / "gallery")
    assert sorted(gallery.ids()) == ["1000", "999"]
    for item, found in zip(items, gallery.boxes(["1000", "999"]), strict=True):
        assert found is not None
        np.testing.assert_array_equal(found.boxes, item.boxes)
        np.testing.assert_array_equal(found.picture_size, item.size)


def test_progress_tells_how_far_each_step_is(tmp_path: Path) -> None:
    source = npz_folder(tmp_path / "npz", extracted([3, 2]))
    told: list[tuple[str, int, int]] = []
    convert(source, output=tmp_path / "data", progress=lambda *step: told.append(step))
    steps = ("looking through (files)", "writing images")
    assert told == [(step, done, 2) for step in steps for done in (1, 2)]


def test_the_command_says_what_it_wrote(tmp_path: Path) -> None:
    source, output = WRITE["tsv"](tmp_path / "r.tsv", extracted([3, 2])), tmp_path / "data"
    done = itr_deploy("convert", source, "--output", output)
    assert done.code == 0, done.err
    assert done.out == f"data: {output} (2 images of test, 2 to 3 regions of 8 features, boxes)\n"
    done = itr_deploy("convert", source, "--output", output, "--force", "--json")
    assert done.json == {
        "data": str(output), "split": "test", "images": 2, "feature_dim": 8, "least_regions": 2,
        "most_regions": 3, "boxes": True, "repeated": 0,
    }  # fmt: skip
    assert "give force=True" in itr_deploy("convert", source, "--output", output).error
