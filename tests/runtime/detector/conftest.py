"""Tiny detectors of both dialects."""

from __future__ import annotations

from pathlib import Path

import pytest

from itr_deploy import Detector
from tests.support.tiny_detector import tiny_detector


@pytest.fixture(scope="session")
def tiny(detector_bundle: Path) -> Path:
    return detector_bundle


@pytest.fixture(scope="session")
def detector(tiny: Path) -> Detector:
    return Detector.load(tiny)


@pytest.fixture(scope="session")
def port(tmp_path_factory: pytest.TempPathFactory) -> Detector:
    """A tiny detector of the other dialect, without attributes."""
    root = tmp_path_factory.mktemp("port") / "detector"
    return Detector.load(tiny_detector(root, "frcnn-vg", attributes=False))
