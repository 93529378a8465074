"""Images of different numbers of regions: each is what it is alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import itr_deploy
from itr_deploy import Gallery, Matcher, Regions
from itr_deploy.errors import GalleryError, InputError
from itr_deploy.runtime.gallery.held import read_all
from tests.support.items import WIDTH, captions, images, names
from tests.support.retrieval import assert_same, on_disk, resident

COUNTS = (5, 3, 5, 9, 1, 3, 7)
TEXTS = ["a dog", "two cats on a mat"]


def ragged() -> list[np.ndarray]:
    return [images(1, regions=count, seed=place)[0] for place, count in enumerate(COUNTS)]


def padded() -> np.ndarray:
    whole = np.zeros((len(COUNTS), max(COUNTS), WIDTH), np.float32)
    for row, one in zip(whole, ragged(), strict=True):
        row[: len(one)] = one
    return whole


def alone(matcher: Matcher) -> np.ndarray:
    """Scores of every image by itself, ``[images, texts]``."""
    return np.concatenate([matcher.score(texts=TEXTS, images=one[None]) for one in ragged()])


@pytest.mark.parametrize(
    "given",
    [
        ragged,
        lambda: tuple(ragged()),
        lambda: Regions(ragged()),
        lambda: Regions(padded(), counts=COUNTS),
    ],
)
def test_every_image_scores_as_alone(given: Any, matcher: Matcher) -> None:
    scores = matcher.score(texts=TEXTS, images=given())
    np.testing.assert_allclose(scores, alone(matcher), atol=2e-5)


@given(data=st.data())
@settings(max_examples=20)
def test_slices_of_images_are_what_they_are_together(data: st.DataObject, matcher: Matcher) -> None:
    start = data.draw(st.integers(0, len(COUNTS) - 1))
    part = slice(start, data.draw(st.integers(start + 1, len(COUNTS))))
    whole = matcher.encode_images(Regions(padded(), counts=COUNTS))
    some = matcher.encode_images(Regions(padded(), counts=COUNTS)[part])
    np.testing.assert_allclose(some.embedding, whole.embedding[part], atol=1e-5)


@pytest.mark.parametrize("storage", ["float16", "float32", "int8"])
def test_a_gallery_of_them_is_searched_in_memory_and_on_disk(
    storage: Any, matcher: Matcher, tmp_path: Path
) -> None:
    gallery = Gallery.create(tmp_path / "gallery", matcher, "image", storage)
    gallery.add(names(4), ragged()[:4])
    gallery.add(names(7)[4:], ragged()[4:])
    assert gallery.table.search().select(["length"]).to_arrow()["length"].to_pylist() == [*COUNTS]
    stored = read_all(gallery).encoded
    assert {block.positions for block in stored.blocks} == set(COUNTS)
    memory = resident(matcher, gallery).search(TEXTS, 7, candidates=None)
    disk = on_disk(matcher, gallery, 1000)
    assert_same(disk.search(TEXTS, 7, candidates=None), memory, tolerance=1e-5)
    assert_same(disk.search(TEXTS, 3, candidates=3), resident(matcher, gallery).search(
        TEXTS, 3, candidates=3
    ), tolerance=1e-5)  # fmt: skip
    tolerance = {"float16": 1e-2, "float32": 1e-4, "int8": 1e-1}[storage]
    for column, hits in zip(alone(matcher).T, memory, strict=True):
        for hit in hits:
            place = names(7).index(hit.id)
            assert abs(hit.score - column[place]) <= tolerance * (1 + abs(column[place]))


def test_they_search_texts(matcher: Matcher, tmp_path: Path) -> None:
    gallery = Gallery.create(tmp_path / "gallery", matcher, "text", "float32")
    gallery.add(names(8), captions(8))
    retriever = resident(matcher, gallery)
    for found in (retriever.search(image=ragged()), retriever.search(image=Regions(ragged()))):
        assert_same(found, [retriever.search(image=one) for one in ragged()], tolerance=1e-5)


def test_one_at_a_time_needs_a_gallery_that_was_made_for_any(
    matcher: Matcher, tmp_path: Path
) -> None:
    fixed = Gallery.create(tmp_path / "fixed", matcher)
    fixed.add(["a"], ragged()[:1])
    with pytest.raises(GalleryError, match=r"have 5 regions, these have 3; .*ragged=True"):
        fixed.add(["b"], ragged()[1:2])
    with pytest.raises(GalleryError, match="these have different numbers"):
        fixed.add(names(7), ragged())
    any_number = Gallery.create(tmp_path / "any", matcher, ragged=True)
    for name, one in zip(names(7), ragged(), strict=True):
        any_number.add([name], one[None])
    any_number.update(names(1), images(1, regions=8))
    assert any_number.count("length = 8") == 1
    assert any_number.count() == 7


def test_a_split_with_counts_is_indexed_and_evaluated(
    bundle: Path, matcher: Matcher, tmp_path: Path
) -> None:
    np.save(tmp_path / "test_ims.npy", padded())
    np.save(tmp_path / "test_region_counts.npy", np.array(COUNTS))
    (tmp_path / "test_caps.txt").write_text("\n".join(captions(2 * len(COUNTS))) + "\n")
    itr_deploy.index(bundle, data=tmp_path, output=tmp_path / "gallery", storage="float32")
    found = resident(matcher, Gallery.open(tmp_path / "gallery", matcher)).search(TEXTS, 7)
    assert {hit.id for hit in found[0]} == {str(place) for place in range(7)}
    report = itr_deploy.evaluate(bundle, data=tmp_path, output=tmp_path / "out", save_scores=True)
    scores = np.load(tmp_path / "out" / "scores" / "scores.npy")
    expected = matcher.score(texts=captions(2 * len(COUNTS)), images=ragged())
    np.testing.assert_allclose(scores, expected, atol=2e-5)
    assert report.data.images == len(COUNTS)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            lambda: Regions(padded(), counts=[5, 3]),
            "counts are int64 \\[2\\]; expected one integer for each",
        ),
        (lambda: Regions(padded(), counts=[1.0] * 7), "counts are float64"),
        (lambda: Regions(padded(), counts=[0, *COUNTS[1:]]), "image 0 has 0 regions by its count"),
        (
            lambda: Regions(padded(), counts=[*COUNTS[:6], 10]),
            "image 6 has 10 regions by its count",
        ),
        (lambda: Regions(ragged(), counts=COUNTS), "a list of arrays needs none"),
        (lambda: [*ragged(), np.ones((2, WIDTH + 1), np.float32)], "features each"),
        (lambda: [*ragged(), np.ones((0, WIDTH), np.float32)], "0 regions an image"),
        (lambda: [*ragged(), np.zeros((2, WIDTH), np.float32)], "regions of image 7 are all 0"),
        (lambda: padded(), "region 5 of image 0 is all 0"),
    ],
)
def test_what_is_not_images_is_refused(given: Any, said: str, matcher: Matcher) -> None:
    with pytest.raises(InputError, match=said):
        matcher.encode_images(given())


@pytest.mark.parametrize("kind", ["U1", object, complex, bool])
def test_boxes_that_are_no_numbers_are_refused(kind: Any, matcher: Matcher) -> None:
    boxes = [np.tile([0, 0, 9, 9], (count, 1)).astype(kind) for count in COUNTS]
    sizes = [[10, 10]] * len(COUNTS)
    for placed in (
        Regions(ragged(), boxes, sizes),
        Regions(images(7), np.stack(boxes[:1] * 7), sizes),
    ):
        with pytest.raises(InputError, match=r"boxes (of image 0 )?are "):
            matcher.encode_images(placed)
