"""What a detector found is kept on disk until a gallery is complete, and found once."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from itr_deploy import Detection, Detector
from itr_deploy.runtime.detector.images import DetectedImages
from itr_deploy.runtime.detector.kept import KeptDetections
from itr_deploy.runtime.encoding.pictures import Limits
from tests.support.region_cases import BUA_CAFFE

BOXES = (3, 9)


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    return [Path(shutil.copy(path, tmp_path / path.name)) for path in BUA_CAFFE.pictures]


@pytest.fixture
def found(detector: Detector, files: list[Path]) -> list[Detection]:
    return detector.detect(files, boxes=BOXES)


def kept(tmp_path: Path, detector: Detector, files: list[Path], **other: Any) -> KeptDetections:
    return KeptDetections(tmp_path / "gallery", detector, other.get("boxes", BOXES), files)


def same(one: Detection | None, other: Detection) -> None:
    assert one is not None
    for name, part in vars(other).items():
        np.testing.assert_array_equal(getattr(one, name), part)


def test_what_is_written_is_read_by_the_next_run(
    detector: Detector, files: list[Path], found: list[Detection], tmp_path: Path
) -> None:
    first = kept(tmp_path, detector, files)
    first.write(0, found[0])
    first.write(2, found[2])
    again = kept(tmp_path, detector, files)
    assert (len(again), 0 in again, 1 in again) == (2, True, False)
    same(again.read(0), found[0])
    same(again.read(2), found[2])
    again.clear()
    assert sorted(tmp_path.iterdir()) == files
    assert len(kept(tmp_path, detector, files)) == 0


def test_a_detector_without_attributes_is_kept_too(
    port: Detector, files: list[Path], tmp_path: Path
) -> None:
    (found,) = port.detect(files[:1], boxes=BOXES)
    kept(tmp_path, port, files).write(0, found)
    same(kept(tmp_path, port, files).read(0), found)


def test_other_settings_another_detector_and_a_changed_picture_are_looked_at_again(
    detector: Detector, port: Detector, files: list[Path], found: list[Detection], tmp_path: Path
) -> None:
    kept(tmp_path, detector, files).write(0, found[0])
    assert len(kept(tmp_path, detector, files, boxes=(3, 10))) == 0
    assert len(kept(tmp_path, port, files)) == 0
    fewer = Detector(detector.bundle, detector.backend, proposals=20)
    assert len(kept(tmp_path, fewer, files)) == 0
    os.utime(files[0], (1, 1))
    later = kept(tmp_path, detector, files)
    assert later.read(0) is None
    assert 0 not in later


@pytest.mark.parametrize("content", [b"", b"PK", b"nothing"])
def test_a_damaged_file_is_a_picture_to_look_at(
    content: bytes, detector: Detector, files: list[Path], found: list[Detection], tmp_path: Path
) -> None:
    kept(tmp_path, detector, files).write(0, found[0])
    (path,) = (tmp_path / ".gallery.regions").rglob("*.npz")
    for damaged in (content, path.read_bytes()[:-20]):
        path.write_bytes(damaged)
        later = kept(tmp_path, detector, files)
        assert 0 in later
        assert later.read(0) is None
        assert 0 not in later


def test_a_run_after_a_killed_one_looks_at_the_other_pictures_alone(
    detector: Detector,
    files: list[Path],
    matcher: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked: list[str] = []
    prepare = Detector._prepared

    def noted(self: Detector, picture: Any, name: str) -> Any:
        looked.append(name)
        return prepare(self, picture, name)

    monkeypatch.setattr(Detector, "_prepared", noted)
    items = matcher.bundle.manifest.images.model_copy(update={"regions": 5, "feature_dim": 8})
    names = ["a", "b", "c"]

    def images() -> DetectedImages:
        own = KeptDetections(tmp_path / "gallery", detector, (5, 5), files)
        return DetectedImages(detector, items, files, names=names, kept=own)

    ((_, given),) = images().batches(slice(None), Limits(8))
    whole = given["regions"]
    assert sorted(looked) == names
    paths = sorted((tmp_path / ".gallery.regions").rglob("*.npz"))
    paths[1].unlink()
    looked.clear()
    later = images()
    assert later.seconds_a_picture() is not None
    parts = [
        given["regions"]
        for part in (slice(0, 1), slice(1, 3))
        for _, given in later.batches(part, Limits(8))
    ]
    np.testing.assert_allclose(np.concatenate(parts), whole, atol=1e-5)
    assert len(looked) == 1
    looked.clear()
    assert images().seconds_a_picture() is None
    assert looked == []
