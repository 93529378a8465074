"""Boxes and picture sizes are stored beside images, and read back by id."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from itr_deploy import Gallery, Matcher, Regions
from itr_deploy.errors import GalleryError
from itr_deploy.runtime.encoding.places import random_places
from tests.support.items import images, names


def placed(count: int, regions: int, seed: int = 0) -> Regions:
    rng = np.random.default_rng(seed)
    return Regions(images(count, regions=regions), *random_places(rng, count, regions))


def test_boxes_come_back_by_id_in_the_order_asked(matcher: Matcher, tmp_path: Path) -> None:
    given = placed(70, 3)
    gallery = Gallery.create(tmp_path / "gallery", matcher)
    gallery.add(names(70), given, metadata={"n": [*range(70)]})
    opened = Gallery.open(tmp_path / "gallery", matcher)
    chosen = [names(70)[n] for n in (66, 2, 30)]
    for number, found in zip((66, 2, 30), opened.boxes(chosen), strict=True):
        assert found is not None
        np.testing.assert_array_equal(found.boxes, np.asarray(given.boxes)[number])
        np.testing.assert_array_equal(found.picture_size, np.asarray(given.picture_sizes)[number])
    assert opened.metadata_columns == ["n"]
    assert opened.boxes([]) == []


def test_images_of_any_number_of_regions_keep_their_own(matcher: Matcher, tmp_path: Path) -> None:
    padded = placed(4, 5)
    counts = [5, 2, 3, 1]
    gallery = Gallery.create(tmp_path / "gallery", matcher, ragged=True)
    gallery.add(names(4), Regions(padded.features, padded.boxes, padded.picture_sizes, counts))
    for number, found in enumerate(gallery.boxes(names(4))):
        assert found is not None
        np.testing.assert_array_equal(
            found.boxes, np.asarray(padded.boxes)[number, : counts[number]]
        )


def test_images_without_boxes_have_none_among_others(matcher: Matcher, tmp_path: Path) -> None:
    gallery = Gallery.create(tmp_path / "gallery", matcher)
    gallery.add(["a", "b"], placed(2, 3))
    gallery.add(["c"], images(1, regions=3))
    assert [found is None for found in gallery.boxes(["c", "a"])] == [True, False]
    gallery.update(["a"], images(1, regions=3))
    assert gallery.boxes(["a"]) == [None]
    gallery.update(["c"], placed(1, 3))
    assert gallery.boxes(["c"]) != [None]


def test_boxes_are_not_kept_where_the_first_images_had_none(
    matcher: Matcher, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    gallery = Gallery.create(tmp_path / "gallery", matcher)
    gallery.add(["a"], images(1, regions=3))
    with caplog.at_level(logging.WARNING):
        gallery.add(["b"], placed(1, 3))
    assert "it stores none; those of these images are not kept" in caplog.text
    assert gallery.boxes(["a", "b"]) == [None, None]


def test_boxes_that_are_parts_of_the_picture_are_told_and_left_out(
    matcher: Matcher, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    given = placed(2, 3)
    boxes, sizes = np.array(given.boxes), np.array(given.picture_sizes)
    boxes[1] /= np.tile(sizes[1], 2)
    gallery = Gallery.create(tmp_path / "gallery", matcher)
    with caplog.at_level(logging.WARNING):
        gallery.add(["a", "b"], Regions(given.features, boxes, sizes))
    assert "all boxes of image 1 lie between 0 and 1" in caplog.text
    assert [found is None for found in gallery.boxes(["a", "b"])] == [False, True]


def test_what_is_not_there_is_told(matcher: Matcher, tmp_path: Path) -> None:
    gallery = Gallery.create(tmp_path / "gallery", matcher)
    gallery.add(["it's"], placed(1, 3))
    assert gallery.boxes(["it's"]) != [None]
    with pytest.raises(GalleryError, match="no item 'b'"):
        gallery.boxes(["it's", "b"])


def test_a_box_that_this_model_does_not_read_is_told_and_left_out(
    matcher: Matcher, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    given = placed(3, 3)
    np.asarray(given.boxes)[2, 1] = [5, 5, 5, 9]
    gallery = Gallery.create(tmp_path / "gallery", matcher)
    with caplog.at_level(logging.WARNING):
        gallery.add(names(3), given)
    assert "box 1 of image 2" in caplog.text
    assert [found is None for found in gallery.boxes(names(3))] == [False, False, True]


def test_what_a_gallery_says_of_itself_does_not_change_with_boxes(
    matcher: Matcher, tmp_path: Path
) -> None:
    """Releases that know of no boxes open it."""
    gallery = Gallery.create(tmp_path / "gallery", matcher)
    gallery.add(names(2), placed(2, 3))
    plain = Gallery.create(tmp_path / "plain", matcher)
    plain.add(names(2), images(2, regions=3))
    assert gallery.description == plain.description
