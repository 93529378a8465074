"""A storage type with which a model misses the gate is left out of its bundle."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from itr_deploy.bundle.manifest import StorageType
from itr_deploy.bundle.store import read_bundle
from itr_deploy.parity.report import ParityReport, compare
from itr_deploy.parity.storages import leave_out_missed
from tests.support.files import tree


def report(storage: StorageType, error: float) -> ParityReport:
    pair = "sample", np.array([1 + error]), np.array([1.0])
    own = compare(f"match_text_to_image, {storage}", [pair], 1e-3, storage)
    other = compare("image_regions", [("sample", np.ones(1), np.ones(1))], 1e-3)
    return ParityReport("cpu", (own, other), (), ())


def test_what_is_missed_goes_with_its_comparisons_and_a_warning(
    bundle_copy: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = read_bundle(bundle_copy).manifest
    manifest, left = leave_out_missed(bundle_copy, before, report("int8", 1))
    assert read_bundle(bundle_copy).manifest == manifest
    assert manifest.storages == ("float16", "float32")
    assert not list(bundle_copy.rglob("*_int8*"))
    assert left.passed
    assert [entry.name for entry in left.entries] == ["image_regions"]
    (said,) = left.unchecked
    assert "int8 galleries are left out: match_text_to_image, int8: 5.0e-01 where 1e-03" in said
    assert caplog.record_tuples == [("itr_deploy.parity.storages", logging.WARNING, said)]


@pytest.mark.parametrize(("storage", "error"), [("int8", 0), ("float16", 1)])
def test_nothing_is_left_out_where_it_passes_or_is_needed(
    storage: StorageType, error: float, bundle_copy: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before, manifest = tree(bundle_copy), read_bundle(bundle_copy).manifest
    given = report(storage, error)
    assert leave_out_missed(bundle_copy, manifest, given) == (manifest, given)
    assert caplog.records == []
    assert tree(bundle_copy) == before
