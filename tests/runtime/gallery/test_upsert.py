"""Adding what is new and replacing what is there, in one commit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from itr_deploy import Gallery, Matcher
from itr_deploy.errors import GalleryError, InputError
from itr_deploy.runtime.gallery.held import read_all
from tests.support.items import captions, images, names


def stored(gallery: Gallery) -> dict[str, tuple[np.ndarray, dict]]:
    """Embedding and user columns by id."""
    items = read_all(gallery)
    found = items.describe(np.arange(len(items.ids)))
    rows = zip(items.encoded.embedding, found, strict=True)
    return dict(zip(items.ids.tolist(), rows, strict=True))


def test_new_items_are_added_and_the_others_replaced_in_one_version(
    matcher: Matcher, tmp_path: Path
) -> None:
    gallery = Gallery.create(tmp_path / "gallery", matcher)
    gallery.add(["a", "b"], images(2), {"year": [1, 2], "word": ["x", "y"]})
    version, late = gallery.version, images(2, seed=1)
    gallery.upsert(["b", "c"], late, {"year": [20, 30]})
    assert gallery.version == version + 1
    found, expected = stored(gallery), matcher.encode_images(late).embedding
    assert {name: row for name, (_, row) in found.items()} == {
        "a": {"year": 1, "word": "x"},
        "b": {"year": 20, "word": "y"},
        "c": {"year": 30, "word": None},
    }
    np.testing.assert_array_equal([found["b"][0], found["c"][0]], expected)
    gallery.verify()


def test_an_empty_gallery_takes_its_columns_from_the_first_upsert(
    matcher: Matcher, tmp_path: Path
) -> None:
    gallery = Gallery.create(tmp_path / "gallery", matcher, "text")
    gallery.upsert(names(300), captions(300), {"year": list(range(300))})
    gallery.upsert(names(400), captions(400, seed=1), {"year": list(range(400))})
    assert (gallery.count(), gallery.metadata_columns) == (400, ["year"])
    gallery.upsert([], [])
    assert gallery.count() == 400


def test_an_upsert_that_cannot_be_made_changes_nothing(matcher: Matcher, tmp_path: Path) -> None:
    gallery = Gallery.create(tmp_path / "gallery", matcher)
    gallery.add(["a"], images(1), {"year": [1]})
    identity, spoilt = gallery.identity, images(2)
    spoilt[1, 0, 0] = np.nan
    with pytest.raises(InputError):
        gallery.upsert(["a", "b"], spoilt)
    with pytest.raises(GalleryError, match="no metadata column 'month'"):
        gallery.upsert(["a", "b"], images(2), {"month": [1, 2]})
    with pytest.raises(GalleryError, match="given twice"):
        gallery.upsert(["a", "a"], images(2))
    with pytest.raises(GalleryError, match="its images have 5 regions"):
        gallery.upsert(["a"], images(1, regions=7))
    gallery.refresh()
    assert gallery.identity == identity
