from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from itr_deploy.errors import UsageError
from itr_deploy.evaluation.data.answers import Answers
from itr_deploy.evaluation.measures.figures import DirectionFigures
from itr_deploy.evaluation.measures.recall import (
    Ranks,
    mean_recall,
    ranks,
    recall,
    recall_curve,
)


def by_sorting(scores: np.ndarray, per: int) -> tuple[list[int], list[int]]:
    """Ranks from 1 as the field's programs find them: sort, then look for the right answer."""
    by_image = []
    for image, row in enumerate(scores):
        order = np.argsort(-row, kind="stable").tolist()
        by_image.append(1 + min(order.index(image * per + n) for n in range(per)))
    by_caption = []
    for caption, column in enumerate(scores.T):
        order = np.argsort(-column, kind="stable").tolist()
        by_caption.append(1 + order.index(caption // per))
    return by_image, by_caption


sizes = st.tuples(st.integers(1, 7), st.integers(1, 5))


@given(sizes=sizes, seed=st.integers(0, 1000), block=st.integers(1, 300))
def test_without_ties_ranks_are_those_of_sorting_whatever_the_blocks(
    sizes: tuple[int, int], seed: int, block: int
) -> None:
    images, per = sizes
    rng = np.random.default_rng(seed)
    scores = rng.permutation(images * images * per).reshape(images, images * per)
    scores = scores.astype(np.float32)
    found = ranks(scores, per, block_bytes=block)
    assert (found.image_to_text.tolist(), found.text_to_image.tolist()) == by_sorting(scores, per)


counts = st.lists(st.integers(0, 4), min_size=1, max_size=7).filter(any)


def written_out(scores: np.ndarray, images: list[int]) -> tuple[list[int], list[int]]:
    """Ranks by their definition, pair by pair, for captions of these images; 0 for no query."""
    by_image = []
    for image, row in enumerate(scores):
        best = max(
            (score for score, own in zip(row, images, strict=True) if own == image), default=0
        )
        wrong = sum(score >= best for score, own in zip(row, images, strict=True) if own != image)
        by_image.append(1 + int(wrong) if image in images else 0)
    by_caption = [
        int(sum(scores[image, caption] >= scores[own, caption] for image in range(len(scores))))
        for caption, own in enumerate(images)
    ]
    return by_image, by_caption


@given(counts=counts, seed=st.integers(0, 1000), block=st.integers(1, 300), ties=st.booleans())
def test_ranks_of_any_numbers_of_captions_are_those_of_the_definition(
    counts: list[int], seed: int, block: int, ties: bool
) -> None:
    rng = np.random.default_rng(seed)
    shape = len(counts), sum(counts)
    scores = rng.integers(0, 4 if ties else 1 << 20, shape).astype(np.float32)
    answers = Answers.of(counts)
    found = ranks(scores, answers, block_bytes=block)
    expected = written_out(scores, answers.image_of.tolist())
    assert (found.image_to_text.tolist(), found.text_to_image.tolist()) == expected


def test_an_image_without_captions_is_an_item_and_no_query() -> None:
    scores = np.array([[0.9, 0.1], [0.95, 0.0], [0.1, 0.8]], np.float32)
    found = ranks(scores, Answers.of([1, 0, 1]))
    assert found.image_to_text.tolist() == [1, 0, 1]
    assert found.text_to_image.tolist() == [2, 1]
    figures = recall(found)
    assert (figures.image_to_text.r1, figures.image_to_text.mean_rank) == (100.0, 1.0)
    assert (figures.text_to_image.r1, figures.text_to_image.mean_rank) == (50.0, 1.5)
    assert recall_curve(found.image_to_text, [1]) == [100.0]


@given(
    scores=arrays(np.float32, (4, 8), elements=st.sampled_from([0.0, 1.0, 2.0])),
    order=st.permutations(range(4)),
)
def test_ranks_with_ties_do_not_depend_on_the_order_of_the_items(
    scores: np.ndarray, order: list[int]
) -> None:
    captions = [2 * image + n for image in order for n in range(2)]
    found, moved = ranks(scores, 2), ranks(scores[order][:, captions], 2)
    assert moved.image_to_text.tolist() == found.image_to_text[order].tolist()
    assert moved.text_to_image.tolist() == found.text_to_image[captions].tolist()


def test_a_tie_counts_against_the_right_answer() -> None:
    found = ranks(np.zeros((3, 6), np.float32), 2)
    assert found.image_to_text.tolist() == [5, 5, 5]
    assert found.text_to_image.tolist() == [3] * 6


def test_a_score_that_is_no_number_is_lost_both_as_right_and_as_wrong_answer() -> None:
    scores = np.eye(3, dtype=np.float32)
    scores[0, 0] = np.nan
    assert ranks(scores, 1).text_to_image.tolist() == [3, 1, 1]
    assert ranks(scores, 1).image_to_text.tolist() == [3, 1, 1]
    scores = np.eye(3, dtype=np.float32)
    scores[0, 1] = np.nan
    assert ranks(scores, 1).text_to_image.tolist() == [1, 2, 1]


def test_figures_are_the_fields() -> None:
    # Ranks both ways: 1, 2, 6 and 11 of twelve.
    scores = np.eye(12, dtype=np.float32) * 100
    scores[1, 1] = scores[2, 2] = scores[3, 3] = 0
    for query, beaten_by in ((1, 1), (2, 5), (3, 10)):
        scores[query] -= 1
        scores[query, [n for n in range(12) if n != query][:beaten_by]] = 1
        scores[query, query] = 0
    found = recall(ranks(scores, 1))
    expected = DirectionFigures(
        r1=100 * 9 / 12, r5=100 * 10 / 12, r10=100 * 11 / 12, median_rank=1.0, mean_rank=28 / 12
    )
    assert dict(found.image_to_text) == pytest.approx(dict(expected))
    assert found.rsum == pytest.approx(sum(expected.recalls) + sum(found.text_to_image.recalls))


def test_the_median_rank_is_rounded_down() -> None:
    scores = np.array([[1, 0], [1, 0]], np.float32)
    assert ranks(scores, 1).image_to_text.tolist() == [1, 2]
    assert recall(ranks(scores, 1)).image_to_text.median_rank == 1.0


def test_folds_are_consecutive_images_with_their_captions_and_their_figures_are_averaged() -> None:
    scores = np.random.default_rng(0).standard_normal((6, 12)).astype(np.float32)
    parts = Answers.equal(6, 2).folds(3)
    assert parts[1] == (slice(2, 4), slice(4, 8))
    each = [recall(ranks(scores[rows, columns], 2)) for rows, columns in parts]
    mean = mean_recall(each)
    assert mean.text_to_image.r1 == pytest.approx(np.mean([f.text_to_image.r1 for f in each]))
    assert mean.image_to_text.mean_rank == pytest.approx(
        np.mean([f.image_to_text.mean_rank for f in each])
    )


def test_a_difference_is_taken_figure_by_figure() -> None:
    scores = np.random.default_rng(1).standard_normal((6, 12)).astype(np.float32)
    found, other = recall(ranks(scores, 2)), recall(ranks(-scores, 2))
    less = found - other
    assert less.text_to_image.r5 == found.text_to_image.r5 - other.text_to_image.r5
    assert less.image_to_text.mean_rank == (
        found.image_to_text.mean_rank - other.image_to_text.mean_rank
    )
    assert less.rsum == found.rsum - other.rsum != 0


def test_folds_that_do_not_divide_the_images_are_refused() -> None:
    with pytest.raises(UsageError, match="250 images cannot be divided into 3 equal folds"):
        Answers.equal(250, 5).folds(3)


def test_scores_with_another_number_of_captions_are_refused() -> None:
    with pytest.raises(UsageError, match="3 images and 7 captions"):
        ranks(np.zeros((3, 7), np.float32), 2)


def test_a_curve_is_the_recall_at_every_depth() -> None:
    assert recall_curve(np.array([1, 2, 4, 4]), [1, 2, 3, 4]) == [25.0, 50.0, 50.0, 100.0]


def test_ranks_are_equal_where_every_rank_is_and_not_hashable() -> None:
    one = Ranks(np.array([1, 2]), np.array([3, 1, 1, 2]))
    assert one == Ranks(np.array([1, 2]), np.array([3, 1, 1, 2]))
    assert one != Ranks(np.array([1, 2]), np.array([3, 1, 1, 1]))
    assert one != Ranks(np.array([1]), np.array([3, 1]))
    assert one != (one.image_to_text, one.text_to_image)
    with pytest.raises(TypeError, match="unhashable type: 'Ranks'"):
        hash(one)
