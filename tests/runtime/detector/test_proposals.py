"""Proposals follow their dialect where the golden cases do not look."""

from __future__ import annotations

import math

import numpy as np

from itr_deploy.bundle.detector import DetectorManifest
from itr_deploy.runtime.detector.geometry import clipped, regressed
from itr_deploy.runtime.detector.proposals import Candidates, anchors, proposed
from tests.support.region_cases import BUA_CAFFE, FRCNN_VG

ONES = (1, 1, 1, 1)


def changed(manifest: DetectorManifest, **settings: object) -> DetectorManifest:
    proposals = manifest.proposals.model_copy(update=settings)
    return manifest.model_copy(update={"proposals": proposals})


def test_anchors_are_in_the_order_of_rows_columns_and_cells() -> None:
    manifest = BUA_CAFFE.manifest.model_copy(update={"anchors": ((0, 0, 15, 15), (-4, 2, 19, 13))})
    found = anchors(manifest, (2, 3))
    assert found.shape == (12, 4)
    assert found[:3].tolist() == [[0, 0, 15, 15], [-4, 2, 19, 13], [16, 0, 31, 15]]
    assert found[6].tolist() == [0, 16, 15, 31]


def test_growth_is_limited() -> None:
    box, most = np.array([[0, 0, 16, 16]], np.float32), math.log(1000 / 16)
    for growth in (most + 0.01, 9, 1000):
        wild = np.array([[0, 0, growth, growth]], np.float32)
        np.testing.assert_allclose(regressed(box, wild, ONES, plus=0), [[-492, -492, 508, 508]])
    less = np.array([[0, 0, most - 0.1, 0]], np.float32)
    assert regressed(box, less, ONES, plus=0)[0, 2] < 508


def test_regression_is_divided_by_its_weights() -> None:
    box = np.array([[10, 10, 30, 50]], np.float32)
    deltas = np.array([[1, 2, math.log(2) * 5, 0]], np.float32)
    found = regressed(box, deltas, (10, 10, 5, 5), plus=0)
    np.testing.assert_allclose(found, [[2, 18, 42, 58]], rtol=1e-6)


def test_a_regressed_box_of_caffe_keeps_its_half_sides() -> None:
    """Without movement a box of 0 to 15 becomes 0 to 16: a side of 16, and no 1 taken off."""
    box = np.array([[0, 0, 15, 15]], np.float32)
    found = regressed(box, np.zeros((1, 4), np.float32), ONES, plus=1)
    assert found.tolist() == [[0, 0, 16, 16]]


def test_the_last_pixel_is_the_end_in_caffe_alone() -> None:
    box = np.array([[-5, -5, 999, 999]], np.float32)
    assert clipped(box, (30, 40), plus=1).tolist() == [[0, 0, 39, 29]]
    assert clipped(box, (30, 40), plus=0).tolist() == [[0, 0, 40, 30]]


def candidates_of(scores: list[float], deltas: list[list[float]] | None = None) -> Candidates:
    grid = (1, len(scores))
    moves = np.zeros((len(scores), 4)) if deltas is None else np.array(deltas)
    return Candidates(np.array(scores, np.float32), moves.astype(np.float32), grid)


def test_a_side_must_be_longer_than_the_least() -> None:
    """16 of the picture's pixels are 32 of the resized picture's at scale 2 in Caffe."""
    for case, scale, fits, short in ((BUA_CAFFE, 2.0, 32.1, 32), (FRCNN_VG, 2.0, 22.1, 22)):
        plus = int(case.dialect == "bua-caffe")
        for side, count in ((fits, 1), (short, 0)):
            # Regression of Caffe adds the pixel itself, see above.
            cell = (0, 0, side - 2 * plus, 60)
            manifest = case.manifest.model_copy(update={"anchors": (cell,)})
            own = proposed(candidates_of([0.5]), manifest, (100, 100), scale)
            assert len(own.boxes) == count, (case.name, side)


def test_the_best_are_taken_before_the_short_ones_are_dropped_in_frcnn_vg_alone() -> None:
    shrunk = [[0, 0, -9, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    found = candidates_of([0.9, 0.8, 0.7], shrunk)
    for case, expected in ((BUA_CAFFE, [0.8, 0.7]), (FRCNN_VG, [0.8])):
        manifest = case.manifest.model_copy(update={"anchors": ((0, 0, 60, 60),), "stride": 100})
        manifest = changed(manifest, considered=2)
        own = proposed(found, manifest, (300, 300), 1.0)
        np.testing.assert_allclose(own.scores, expected)


def test_overlap_and_number_are_those_of_the_settings() -> None:
    picture = FRCNN_VG.prepared(0)
    found = FRCNN_VG.candidates(0)

    def count(overlap: float, kept: int | None = None) -> int:
        manifest = changed(FRCNN_VG.manifest, overlap=overlap)
        return len(proposed(found, manifest, picture.resized, picture.scale, kept).boxes)

    assert count(0.3) < count(0.6)
    assert count(0.7, kept=5) == 5
    assert count(0.7, kept=1000) > FRCNN_VG.proposals.kept


def test_a_picture_of_nothing_large_enough_has_no_proposals() -> None:
    own = proposed(BUA_CAFFE.candidates(2), BUA_CAFFE.manifest, (15, 15), 1.0)
    assert own.boxes.shape == (0, 4)
    assert own.scores.shape == (0,)
