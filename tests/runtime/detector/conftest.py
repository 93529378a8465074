"""Tiny detectors of both dialects."""

from __future__ import annotations

from pathlib import Path

import pytest

from itr_deploy import Detector
from tests.support.exports import Bundles
from tests.support.tiny_detector import tiny_detector_of


@pytest.fixture(scope="session")
def tiny(detector_bundle: Path) -> Path:
    return detector_bundle


@pytest.fixture(scope="session")
def detector(tiny: Path) -> Detector:
    return Detector.load(tiny)


@pytest.fixture(scope="session")
def port(bundles: Bundles) -> Detector:
    """A tiny detector of the other dialect, without attributes."""
    return Detector.load(tiny_detector_of(bundles, dialect="frcnn-vg", attributes=False))
