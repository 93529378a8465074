"""Of boxes that overlap, the best stays; the dialects differ where boxes overlap just so much."""

from __future__ import annotations

import numpy as np
import pytest

from itr_deploy.runtime.detector.geometry import overlaps
from itr_deploy.runtime.detector.suppression import Rule, by_score, surviving

CAFFE, PORT = Rule.of("bua-caffe", 0.5), Rule.of("frcnn-vg", 0.5)


def plainly(boxes: np.ndarray, scores: np.ndarray, rule: Rule) -> list[int]:
    kept: list[int] = []
    for place in by_score(scores):
        if not any(rule.suppresses(overlaps(boxes[one], boxes[place], rule.plus)) for one in kept):
            kept.append(int(place))
    return kept


def random_boxes(rng: np.random.Generator, count: int) -> np.ndarray:
    low, sides = rng.random((count, 2)) * 60, rng.random((count, 2)) * 40
    return np.concatenate([low, low + sides], axis=1).astype(np.float32)


@pytest.mark.parametrize("rule", [CAFFE, PORT], ids=["caffe", "port"])
@pytest.mark.parametrize("seed", range(5))
def test_the_fast_form_keeps_what_the_plain_one_keeps(rule: Rule, seed: int) -> None:
    rng = np.random.default_rng(seed)
    boxes, scores = random_boxes(rng, 80), rng.random(80).astype(np.float32)
    kept = surviving(boxes, scores, rule)
    assert kept.tolist() == plainly(boxes, scores, rule)
    assert surviving(boxes, scores, rule, most=7).tolist() == kept[:7].tolist()
    assert len(kept) < 80


def test_the_same_overlap_suppresses_in_one_dialect_alone() -> None:
    scores = np.array([0.9, 0.8], np.float32)
    exact = np.array([[0, 0, 2, 1], [0, 0, 1, 1]], np.float32)
    assert overlaps(exact[0], exact[1], plus=0) == 0.5
    assert len(surviving(exact, scores, PORT)) == 2
    assert len(surviving(exact, scores, Rule(0.5, plus=0, inclusive=True))) == 1
    with_one_more = exact - [0, 0, 1, 1]
    assert overlaps(with_one_more[0], with_one_more[1], plus=1) == 0.5
    assert len(surviving(with_one_more.astype(np.float32), scores, CAFFE)) == 1


def test_a_side_has_one_pixel_more_in_caffe() -> None:
    """As boxes whose upper ends are raised by 1."""
    boxes = random_boxes(np.random.default_rng(7), 60) / 8
    scores = np.linspace(1, 0, 60, dtype=np.float32)
    raised = boxes + np.array([0, 0, 1, 1], np.float32)
    caffe = surviving(boxes, scores, CAFFE).tolist()
    assert caffe == surviving(raised, scores, Rule(0.5, plus=0, inclusive=True)).tolist()
    assert caffe != surviving(boxes, scores, PORT).tolist()


def test_of_equal_scores_the_lower_number_is_first() -> None:
    boxes = np.array([[0, 0, 9, 9], [0, 0, 9, 9], [20, 20, 29, 29]], np.float32)
    scores = np.array([0.5, 0.5, 0.5], np.float32)
    assert surviving(boxes, scores, CAFFE).tolist() == [0, 2]
    assert by_score(np.array([0.1, 0.3, 0.3, 0.1])).tolist() == [1, 2, 0, 3]


def test_boxes_without_area_suppress_nothing_and_none_are_none() -> None:
    boxes = np.array([[3, 3, 3, 3], [3, 3, 3, 3]], np.float32)
    assert surviving(boxes, np.array([0.2, 0.1], np.float32), PORT).tolist() == [0, 1]
    empty = np.zeros((0, 4), np.float32)
    assert surviving(empty, np.zeros(0, np.float32), CAFFE).tolist() == []
