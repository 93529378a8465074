"""What the library logs when logging is on; by default it is silent."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from itr_deploy import Gallery, Matcher, Retriever
from itr_deploy.runtime.gallery.read import stored_bytes
from tests.support.command import python
from tests.support.items import images, names


@pytest.fixture
def gallery(matcher: Matcher, tmp_path: Path) -> Gallery:
    made = Gallery.create(tmp_path / "gallery", matcher)
    made.add(names(20), images(20))
    return made


def said(caplog: pytest.LogCaptureFixture, module: str) -> list[str]:
    """Messages of a module, in their order."""
    name = f"itr_deploy.runtime.{module}"
    return [record.getMessage() for record in caplog.records if record.name == name]


def test_opening_a_bundle_tells_what_runs_it(
    bundle: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "itr_deploy"):
        matcher = Matcher.load(bundle, threads=2)
    about = f"imram, float32, runs by {matcher.backend.description}"
    assert said(caplog, "matcher") == [f"{bundle}: {about}"]
    assert "CPUExecutionProvider, 2 threads" in matcher.backend.description


@pytest.mark.parametrize(("resident", "where"), [(True, "in memory"), (False, "on disk")])
def test_loading_a_gallery_tells_its_size_and_where_it_is(
    resident: bool,
    where: str,
    matcher: Matcher,
    gallery: Gallery,
    caplog: pytest.LogCaptureFixture,
) -> None:
    retriever = Retriever(matcher, gallery, resident=resident)
    with caplog.at_level(logging.INFO, "itr_deploy"):
        retriever.search("a dog")
        retriever.search("a cat")
    (told,) = said(caplog, "search.loading")
    assert told.startswith(f"{gallery.path}: 20 items, version {gallery.version}, {where}: ")
    assert f": {stored_bytes(gallery) / 1e6:.0f} MB of tensors" in told


def test_a_refresh_tells_of_a_new_version_alone(
    matcher: Matcher, gallery: Gallery, caplog: pytest.LogCaptureFixture
) -> None:
    retriever = Retriever(matcher, gallery)
    before = gallery.version
    with caplog.at_level(logging.INFO, "itr_deploy"):
        retriever.refresh()
        assert said(caplog, "gallery.table") == []
        Gallery.open(gallery.path).delete(["item0003"])
        retriever.refresh()
    told = f"{gallery.path}: version {gallery.version}, was {before}"
    assert said(caplog, "gallery.table") == [told]


def test_a_search_tells_its_widths_and_its_stages_to_who_debugs(
    matcher: Matcher, gallery: Gallery, caplog: pytest.LogCaptureFixture
) -> None:
    retriever = Retriever(matcher, gallery)
    with caplog.at_level(logging.DEBUG, "itr_deploy"):
        retriever.search("a dog", k=3, candidates=5, prefilter=9)
    (told,) = said(caplog, "retriever")
    assert told.startswith("1 text queries: k 3, prefilter 9, refine None, candidates 5, ")
    stages = [line.split(":")[0] for line in said(caplog, "timing")]
    # The prefilter's scores, and choosing the best of them.
    assert stages == ["encode", "shortlist", "prefilter", "prefilter", "match"]


def test_nothing_is_printed_by_default(bundle: Path, gallery: Gallery) -> None:
    code = """
import sys
from itr_deploy import Retriever
retriever = Retriever.load(sys.argv[1], sys.argv[2])
retriever.search("a dog")
retriever.refresh()
"""
    outcome = python(code, bundle, gallery.path)
    assert (outcome.code, outcome.out, outcome.err) == (0, "", "")
