from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from itr_deploy import Gallery, Matcher, Regions
from itr_deploy.benchmarking import cold_start
from itr_deploy.errors import SetupError
from tests.support.items import images, names


def test_a_fresh_process_tells_what_each_step_took(
    bundle: Path, matcher: Matcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cold_start, "STARTS", 1)
    gallery = Gallery.create(tmp_path / "gallery", matcher)
    gallery.add(names(5), images(5))
    load = {"bundle": str(bundle), "gallery": gallery.path, "threads": 1}
    found = cold_start.cold_start(load, {"k": 3}, "a dog")
    seconds = found.seconds
    assert list(seconds) == ["import", "load", "first_search", "total"]
    parts = [seconds[name] for name in ("import", "load", "first_search")]
    assert sum(parts) == pytest.approx(seconds["total"])
    assert found.hits == 3
    assert found.peak_memory is None or found.peak_memory > 10_000_000


def test_an_image_may_have_boxes(
    bundle: Path, matcher: Matcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cold_start, "STARTS", 1)
    gallery = Gallery.create(tmp_path / "gallery", matcher, "text")
    gallery.add(["a", "b"], ["a dog", "a cat"])
    features = images(1)
    given = Regions(features, np.tile([0.0, 0, 9, 9], (1, features.shape[1], 1)), [[10, 10]])
    load = {"bundle": str(bundle), "gallery": gallery.path, "threads": 1}
    assert cold_start.cold_start(load, {"k": 2}, given[0]).hits == 2  # type: ignore[index]


def test_a_process_that_fails_is_told_in_one_line(tmp_path: Path) -> None:
    load = {"bundle": str(tmp_path / "none"), "gallery": "none"}
    with pytest.raises(SetupError, match=r"a fresh process did not come to .*no such bundle") as at:
        cold_start.cold_start(load, {}, "a dog")
    assert "\n" not in str(at.value)
