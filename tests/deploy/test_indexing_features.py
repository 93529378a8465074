"""`index --features`: what extractors leave becomes a gallery without a step between."""

from __future__ import annotations

import logging
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import itr_deploy as library
from itr_deploy import Gallery, Matcher, Retriever
from itr_deploy.errors import InputError, OutputError, UsageError
from itr_deploy.runtime.encoding.sources import TOGETHER
from itr_deploy.runtime.gallery.layout import BOXES, PICTURE_SIZE
from tests.support.command import itr_deploy
from tests.support.extractors import (
    Extracted,
    extracted,
    hdf5_of_any_length,
    hdf5_of_captioning,
    hdf5_of_groups,
    hdf5_of_names,
    hdf5_of_vqa,
    npy_folder,
    npz_folder,
    row,
    table,
)
from tests.support.items import WIDTH

WRITE: dict[str, Callable[[Path, list[Extracted]], Path]] = {
    "caffe": lambda path, items: table(path, [row(item) for item in items]),
    "lxmert": lambda path, items: table(path, [row(item, lxmert=True) for item in items]),
    "npz": npz_folder,
    "npy": npy_folder,
    "vqa": hdf5_of_vqa,
    "captioning": hdf5_of_captioning,
    "groups": hdf5_of_groups,
    "any length": hdf5_of_any_length,
    "names": hdf5_of_names,
}
WITHOUT_PLACES = ("npy", "captioning", "names")
TEXTS = ["a dog", "two cats on a mat"]


def lines(path: Path, items: list[Extracted]) -> Path:
    path.write_text("".join(f"{item.id}\n" for item in items))
    return path


def scores(matcher: Matcher, gallery: Path) -> list[dict[str, float]]:
    found = Retriever(matcher, Gallery.open(gallery, matcher)).search(TEXTS, k=100)
    return [dict(zip(hits.ids, hits.scores, strict=True)) for hits in found]


@pytest.mark.parametrize("counts", [(4, 4, 4), (10, 100, 37, 10)], ids=["equal", "ragged"])
def test_all_formats_of_the_same_pictures_give_the_same_gallery(
    counts: tuple[int, ...], bundle: Path, matcher: Matcher, tmp_path: Path
) -> None:
    items = extracted(counts, width=WIDTH)
    ids = lines(tmp_path / "ids.txt", items)
    converted = WRITE["caffe"](tmp_path / "source.tsv", items)
    library.convert(converted, output=tmp_path / "data", ids=ids)
    library.index(bundle, data=tmp_path / "data", output=tmp_path / "gallery")
    whole = Gallery.open(tmp_path / "gallery").table.to_arrow()
    expected = scores(matcher, tmp_path / "gallery")
    for name, write in WRITE.items():
        source, output = write(tmp_path / name, items), tmp_path / f"gallery of {name}"
        made = library.index(bundle, features=source, output=output, ids=ids)
        assert (made.added, made.items) == (len(items), len(items))
        found = Gallery.open(output).table.to_arrow()
        kept = [column for column in whole.column_names if column in found.column_names]
        lost = set(whole.column_names) - set(kept)
        assert lost == ({BOXES, PICTURE_SIZE} if name in WITHOUT_PLACES else set()), name
        assert found.select(kept).equals(whole.select(kept)), name
        assert scores(matcher, output) == expected, name


def test_boxes_and_sizes_are_stored_and_found_by_id(bundle: Path, tmp_path: Path) -> None:
    items = extracted([4, 3], width=WIDTH)
    source = WRITE["caffe"](tmp_path / "r.tsv", items)
    library.index(bundle, features=source, output=tmp_path / "gallery")
    found = Gallery.open(tmp_path / "gallery").boxes([item.id for item in items])
    for item, placed in zip(items, found, strict=True):
        assert placed is not None
        np.testing.assert_array_equal(placed.boxes, item.boxes)
        np.testing.assert_array_equal(placed.picture_size, item.size)


def test_a_box_that_cannot_be_used_is_named_by_its_image(
    bundle: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    items = extracted([3, 3], width=WIDTH)
    items[1].boxes[2, 2] = items[1].boxes[2, 0]
    source = WRITE["caffe"](tmp_path / "r.tsv", items)
    with caplog.at_level(logging.WARNING):
        library.index(bundle, features=source, output=tmp_path / "gallery")
    assert "box 2 of image 999 (" in caplog.text
    first, second = Gallery.open(tmp_path / "gallery").boxes(["1000", "999"])
    assert first is not None
    assert second is None


def test_more_images_than_are_encoded_at_once_keep_their_order(
    bundle: Path, matcher: Matcher, tmp_path: Path
) -> None:
    items = extracted([1 + number % 3 for number in range(TOGETHER + 9)], width=WIDTH)
    told: list[tuple[object, ...]] = []
    library.index(
        bundle,
        features=WRITE["caffe"](tmp_path / "r.tsv", items),
        output=tmp_path / "gallery",
        progress=lambda *done: told.append(done),
        looking=lambda *done: told.append(done),
    )
    assert told[-3:] == [
        ("looking through (MiB)", 1, 1),
        (TOGETHER, len(items)),
        (len(items), len(items)),
    ]
    assert Gallery.open(tmp_path / "gallery").ids() == [item.id for item in items]
    one = matcher.score(texts=TEXTS, images=items[-1].features[None])
    found = [hits[items[-1].id] for hits in scores(matcher, tmp_path / "gallery")]
    np.testing.assert_allclose(found, one[0], atol=2e-3)


def test_items_and_columns_are_added_to_a_gallery(bundle: Path, tmp_path: Path) -> None:
    items = extracted([4, 4, 4], width=WIDTH)
    output, columns = tmp_path / "gallery", tmp_path / "columns.csv"
    columns.write_text("id,price\n1000,1\n999,2\n")
    first = WRITE["npz"](tmp_path / "first", items[:2])
    library.index(bundle, features=first, output=output, metadata=columns)
    second = WRITE["caffe"](tmp_path / "second.tsv", items)
    chosen = lines(tmp_path / "ids.txt", items[2:])
    done = library.index(bundle, features=second, ids=chosen, output=output, append=True)
    assert (done.added, done.items) == (1, 3)
    assert Gallery.open(output).count("price = 2") == 1
    with pytest.raises(InputError, match="is there already"):
        library.index(bundle, features=second, output=output, append=True)
    ragged = WRITE["caffe"](tmp_path / "ragged.tsv", extracted([3, 4, 3, 2], width=WIDTH)[3:])
    with pytest.raises(InputError, match="its images have 4 regions, these have 2"):
        library.index(bundle, features=ragged, output=output, append=True)


def test_of_an_image_that_is_there_twice_the_first_is_kept(bundle: Path, tmp_path: Path) -> None:
    items = extracted([3, 3], width=WIDTH)
    again = [row(item) for item in extracted([2, 2], width=WIDTH, seed=1)]
    source = table(tmp_path / "r.tsv", [*map(row, items), *again])
    output = tmp_path / "gallery"
    done = itr_deploy("index", bundle, "--features", source, "--output", output)
    assert done.code == 0, done.err
    assert done.out == f"gallery: {output} (2 images)\n"
    assert "2 entries are of images that came before, such as '1000'" in done.err


def nan(items: list[Extracted]) -> None:
    items[1].features[1, 0] = np.nan


def nothing(items: list[Extracted]) -> None:
    items[1].features[1] = 0


@pytest.mark.parametrize(
    ("harm", "said"), [(nan, "hold NaN or infinity"), (nothing, "region 1 is all 0")]
)
@pytest.mark.parametrize("name", ["caffe", "npz", "vqa"])
def test_damaged_values_are_one_line_and_leave_nothing(
    name: str, harm: Callable[..., None], said: str, bundle: Path, tmp_path: Path
) -> None:
    items = extracted([3, 3], width=WIDTH)
    harm(items)
    source = WRITE[name](tmp_path / "source", items)
    before = sorted(path.name for path in tmp_path.iterdir())
    done = itr_deploy("index", bundle, "--features", source, "--output", tmp_path / "gallery")
    assert done.code == 1
    assert "999" in done.error
    assert said in done.error
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_what_the_model_does_not_take_is_refused_before_the_rest_is_looked_at(
    bundle: Path, tmp_path: Path
) -> None:
    source = WRITE["caffe"](tmp_path / "r.tsv", extracted([3, 3], width=8))
    source.write_text(source.read_text() + "damaged\n")
    with pytest.raises(
        InputError, match=rf"line 1, image '1000': has 8 features a region; .* takes {WIDTH}$"
    ):
        library.index(bundle, features=source, output=tmp_path / "gallery")


def test_wrong_use_is_told(bundle: Path, tmp_path: Path) -> None:
    output = tmp_path / "gallery"
    source = WRITE["caffe"](tmp_path / "r.tsv", extracted([3], width=WIDTH))
    with pytest.raises(UsageError, match=r"features= \(--features\), one of them"):
        library.index(bundle, data=tmp_path, features=source, output=output)
    with pytest.raises(UsageError, match=r"ids= \(--ids\) chooses images of features="):
        library.index(bundle, data=tmp_path, ids=source, output=output)
    with pytest.raises(UsageError, match=r"are images; leave modality= \(--modality\) out"):
        library.index(bundle, features=source, output=output, modality="text")
    with pytest.raises(InputError, match="absent: cannot be read"):
        library.index(bundle, features=tmp_path / "absent", output=output)
    output.mkdir()
    (output / "other").touch()
    with pytest.raises(OutputError, match="exists and is not a gallery"):
        library.index(bundle, features=source, output=output)


def test_memory_does_not_grow_with_the_source(bundle: Path, tmp_path: Path) -> None:
    peaks = []
    for slices in (2, 2, 6):  # what the first imports and compiles is not counted
        items = extracted([100] * (slices * TOGETHER), width=WIDTH)
        source = WRITE["caffe"](tmp_path / "r.tsv", items)
        tracemalloc.start()
        try:
            library.index(bundle, features=source, output=tmp_path / "gallery", force=True)
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert peaks[2] < 1.2 * peaks[1]
