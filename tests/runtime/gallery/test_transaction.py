"""Errors from LanceDB become one line; our own errors stay unchanged."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from itr_deploy import Gallery, Matcher
from itr_deploy.errors import GalleryError
from itr_deploy.runtime.gallery.boundary import gallery_errors
from itr_deploy.runtime.gallery.read import filtered_rows, read_in_parts
from tests.support.items import images, names


@pytest.fixture(scope="module")
def gallery(matcher: Matcher, tmp_path_factory: pytest.TempPathFactory) -> Gallery:
    """Three images; not to be changed."""
    made = Gallery.create(tmp_path_factory.mktemp("transaction") / "gallery", matcher)
    made.add(names(3), images(3), {"year": [1, 2, 3]})
    return made


@pytest.mark.parametrize(
    "where",
    [
        "", "year =", "'", "year", "colour = 1", "year = 'x'", "foo(year) = 1", "id LIKE 3",
        "embedding = 1", "regexp_like(id, '[')", "year = (select 1)", "count(*) > 1",
        "year / 0 = 1", "cast(id as int) = 1",
    ],
)  # fmt: skip
def test_a_filter_that_lancedb_refuses_is_named(where: str, gallery: Gallery) -> None:
    for ask in (gallery.count, lambda w: filtered_rows(gallery, w), lambda w: parts(gallery, w)):
        with pytest.raises(GalleryError) as caught:
            ask(where)
        assert str(caught.value).startswith(f"where={where!r} is not understood: ")
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("where", [None, "year = 1"])
@pytest.mark.parametrize(
    ("defect", "kind"),
    [
        (lambda _: np.zeros(3).reshape(2), ValueError),
        (lambda _: {}["a"], KeyError),
        (lambda _: Path("/dev/null/none").read_bytes(), OSError),
    ],
)
def test_what_our_own_code_raises_stays_what_it_is(
    defect: Callable[[int], Any], kind: type[Exception], where: str | None, gallery: Gallery
) -> None:
    with pytest.raises(kind) as caught, gallery_errors(gallery.path, where):
        defect(gallery.table.count_rows(where))
    assert not isinstance(caught.value, GalleryError)


def test_a_file_that_is_missing_is_not_the_filters_fault(
    gallery: Gallery, matcher: Matcher, tmp_path: Path
) -> None:
    shutil.copytree(gallery.path, tmp_path / "copy")
    for file in (tmp_path / "copy").rglob("data/*.lance"):
        file.unlink()
    opened = Gallery.open(tmp_path / "copy", matcher)
    with pytest.raises(GalleryError) as caught:
        filtered_rows(opened, "year = 1")
    assert str(caught.value).startswith(f"{tmp_path / 'copy'}: ")
    assert ".lance is missing" in str(caught.value)
    assert "not understood" not in str(caught.value)


def parts(gallery: Gallery, where: str) -> int:
    return sum(len(items.ids) for _, items in read_in_parts(gallery, where))
