"""Proposals become regions as in the published programs, also where no golden case looks."""

from __future__ import annotations

import numpy as np
import pytest

from itr_deploy.bundle.detector import Selection
from itr_deploy.runtime.detector.geometry import overlaps
from itr_deploy.runtime.detector.preparing import Prepared
from itr_deploy.runtime.detector.selection import (
    Judged,
    confident,
    most_probable_attribute,
    most_probable_class,
    selected,
)
from itr_deploy.runtime.detector.suppression import Rule, by_score, surviving
from tests.support.region_cases import softmax


def caffe(least: int, most: int, confidence: float = 0.2) -> Selection:
    return Selection(
        min_boxes=least,
        max_boxes=most,
        overlaps=(0.3,),
        confidence=confidence,
        delta_weights=None,
    )


def port(least: int, most: int, *overlap: float) -> Selection:
    return Selection(
        min_boxes=least,
        max_boxes=most,
        overlaps=overlap,
        confidence=None,
        delta_weights=(10, 10, 5, 5),
    )


def plainly(boxes: np.ndarray, classes: np.ndarray, settings: Selection) -> list[int]:
    """Every class, in its order, without stopping."""
    confidence = np.zeros(len(boxes), np.float32)
    for own in classes.T:
        kept = surviving(boxes, own, Rule.of("bua-caffe", settings.overlaps[0]))
        confidence[kept] = np.maximum(confidence[kept], own[kept])
    passed = np.flatnonzero(confidence >= np.float32(settings.confidence))
    if settings.min_boxes <= len(passed) <= settings.max_boxes:
        return passed.tolist()
    few = len(passed) < settings.min_boxes
    return by_score(confidence)[: settings.min_boxes if few else settings.max_boxes].tolist()


@pytest.mark.parametrize("sharp", [0.5, 3, 8])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "settings", [caffe(36, 36), caffe(10, 100), caffe(20, 20), caffe(1, 3), caffe(90, 95)]
)
def test_stopping_early_over_the_classes_changes_nothing(
    sharp: float, seed: int, settings: Selection
) -> None:
    rng = np.random.default_rng(seed)
    low, sides = rng.random((80, 2)) * 60, rng.random((80, 2)) * 40 + 1
    boxes = np.concatenate([low, low + sides], axis=1).astype(np.float32)
    classes = softmax(rng.normal(size=(80, 50)).astype(np.float32) * sharp)[:, 1:]
    assert confident(boxes, classes, settings).tolist() == plainly(boxes, classes, settings)


def apart(count: int) -> np.ndarray:
    """Boxes that do not touch."""
    low = np.arange(count, dtype=np.float32)[:, None] * 50
    return low + np.array([0, 0, 20, 20], np.float32)


def test_confidence_itself_passes() -> None:
    least = np.float32(0.2)
    classes = np.array([[0.1], [least], [np.nextafter(least, np.float32(0))], [0.9]], np.float32)
    assert confident(apart(4), classes, caffe(1, 100)).tolist() == [1, 3]


def test_the_overlap_itself_suppresses_in_the_pictures_pixels() -> None:
    """Two boxes that overlap by 0.3 with a pixel more a side; not so at another scale."""
    boxes = np.array([[0, 0, 12, 9], [7, 0, 19, 9]], np.float32)
    assert overlaps(boxes[0], boxes[1], plus=1) == np.float32(0.3)
    classes = np.array([[0.9], [0.8]], np.float32)
    assert confident(boxes, classes, caffe(1, 100)).tolist() == [0]
    assert confident(boxes * 10, classes, caffe(1, 100)).tolist() == [0, 1]
    judged = Judged(np.zeros((2, 4), np.float32), np.insert(classes, 0, 0.1, axis=1), None, None)
    image = np.zeros((3, 100, 200), np.float32)
    for scale, count in ((1.0, 2), (10.0, 1)):
        picture = Prepared("x", image, scale, (200, 100))
        own = selected(boxes * 10, judged, picture, "bua-caffe", caffe(1, 100))
        assert len(own.boxes) == count
        np.testing.assert_allclose(own.boxes[0], boxes[0] * 10 / scale)


def test_a_class_that_lost_does_not_count() -> None:
    """The second box's best class is the first's: its confidence is that of another class."""
    boxes = np.array([[0, 0, 20, 20], [1, 1, 20, 20]], np.float32)
    classes = np.array([[0.9, 0.0], [0.8, 0.15]], np.float32)
    assert confident(boxes, classes, caffe(1, 100)).tolist() == [0]
    classes[1, 1] = 0.25
    assert confident(boxes, classes, caffe(1, 100)).tolist() == [0, 1]


def test_fewer_proposals_than_asked_for_are_all_that_there_is() -> None:
    classes = np.array([[0.1, 0.3], [0.6, 0.1], [0.02, 0.01]], np.float32)
    assert confident(apart(3), classes, caffe(36, 36)).tolist() == [1, 0, 2]
    judged = Judged(np.zeros((3, 4), np.float32), np.insert(classes, 0, 0.1, axis=1), None, None)
    picture = Prepared("x", np.zeros((3, 60, 200), np.float32), 1.0, (200, 60))
    assert not selected(apart(3), judged, picture, "bua-caffe", caffe(36, 36)).enough
    assert selected(apart(3), judged, picture, "bua-caffe", caffe(3, 36)).enough
    none = Judged(judged.features[:0], judged.classes[:0], None, None)
    assert selected(apart(0), none, picture, "bua-caffe", caffe(10, 100)).boxes.shape == (0, 4)


def test_of_equal_confidence_the_lower_number_is_first() -> None:
    """Boxes that survive in no class have confidence 0, and fill up in their order."""
    boxes = np.repeat(apart(1), 5, axis=0)
    classes = np.full((5, 1), 0.5, np.float32)
    assert confident(boxes, classes, caffe(3, 100)).tolist() == [0, 1, 2]


def regressing(rng: np.random.Generator, count: int, classes: int) -> Judged:
    return Judged(
        features=rng.random((count, 6), np.float32),
        classes=softmax(rng.normal(size=(count, classes + 1)).astype(np.float32) * 3),
        attributes=None,
        deltas=rng.normal(size=(count, 4 * classes)).astype(np.float32),
    )


def test_thresholds_are_tried_in_turn_until_enough_are_left() -> None:
    rng = np.random.default_rng(3)
    boxes = (np.array([0, 0, 60, 60]) + rng.random((40, 1)) * 60).astype(np.float32)
    judged = regressing(rng, 40, 5)
    picture = Prepared("x", np.zeros((3, 150, 150), np.float32), 1.0, (300, 75))

    def count(settings: Selection) -> int:
        return len(selected(boxes, judged, picture, "frcnn-vg", settings).boxes)

    each = [count(port(1, 100, overlap)) for overlap in (0.2, 0.4, 0.6)]
    assert each == sorted(set(each))
    assert count(port(each[0], 100, 0.2, 0.4, 0.6)) == each[0]
    assert count(port(each[0] + 1, 100, 0.2, 0.4, 0.6)) == each[1]
    assert count(port(each[0] + 1, each[1] - 1, 0.2, 0.4, 0.6)) == each[1] - 1


def test_where_no_threshold_leaves_enough_the_last_ones_regions_stay() -> None:
    rng = np.random.default_rng(3)
    judged = regressing(rng, 8, 5)
    picture = Prepared("x", np.zeros((3, 150, 150), np.float32), 1.0, (150, 150))
    boxes = np.repeat(np.array([[20, 20, 90, 90]], np.float32), 8, axis=0)
    own = selected(boxes, judged, picture, "frcnn-vg", port(36, 36, 0.1, 0.3))
    last = selected(boxes, judged, picture, "frcnn-vg", port(1, 36, 0.3))
    assert not own.enough
    assert own.proposals.tolist() == last.proposals.tolist()
    assert len(own.boxes) > 0


def test_the_ports_boxes_compete_in_resized_pixels_and_end_in_the_pictures() -> None:
    """A picture squeezed to a tenth in one direction: overlaps are those before."""
    boxes = np.array([[0, 0, 100, 100], [40, 0, 140, 100]], np.float32)
    judged = Judged(
        np.zeros((2, 3), np.float32),
        np.array([[0.8, 0.1, 0.1], [0.1, 0.7, 0.2]], np.float32),
        None,
        np.zeros((2, 8), np.float32),
    )
    picture = Prepared("x", np.zeros((3, 200, 200), np.float32), 1.0, (20, 400))
    own = selected(boxes, judged, picture, "frcnn-vg", port(1, 9, 0.5))
    np.testing.assert_allclose(own.boxes, [[0, 0, 10, 200], [4, 0, 14, 200]])
    # Whatever their classes, one suppresses the other.
    assert len(selected(boxes, judged, picture, "frcnn-vg", port(1, 9, 0.4)).boxes) == 1


def test_a_region_is_what_is_most_probable_besides_nothing() -> None:
    rows = np.array([[0.5, 0.1, 0.3, 0.1], [0.1, 0.2, 0.2, 0.5]], np.float32)
    caffe_, port_ = (most_probable_class(rows, d) for d in ("bua-caffe", "frcnn-vg"))
    assert (caffe_.numbers.tolist(), port_.numbers.tolist()) == ([1, 2], [0, 1])
    np.testing.assert_allclose(caffe_.confidence, [0.3, 0.5])
    np.testing.assert_allclose(port_.confidence, [0.5, 0.2])
    assert most_probable_attribute(rows, "bua-caffe").numbers.tolist() == [1, 2]
    assert most_probable_attribute(rows, "frcnn-vg").numbers.tolist() == [0, 3]
