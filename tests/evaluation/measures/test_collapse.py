from __future__ import annotations

import numpy as np
import pytest

from itr_deploy.evaluation.measures.collapse import collapse, indistinct

RANDOM = np.random.default_rng(0).standard_normal((6, 12)).astype(np.float32)
SAME = np.full((6, 12), 0.7, np.float32) + 1e-8 * RANDOM
BY_CAPTION = np.repeat(RANDOM[:1], 6, axis=0)
"""Every image scores alike with a caption."""


@pytest.mark.parametrize("block", [1, 100, 1 << 20])
def test_items_that_score_alike_are_found_whatever_the_blocks(block: int) -> None:
    assert set(indistinct(SAME, block)) == {"image", "text"}
    assert indistinct(BY_CAPTION, block) == ("image",)
    assert indistinct(BY_CAPTION.T, block) == ("text",)
    assert indistinct(RANDOM, block) == ()


def test_scores_of_any_size_are_alike_up_to_rounding() -> None:
    assert set(indistinct(1000 * SAME)) == {"image", "text"}
    assert indistinct(SAME + 1e-5 * RANDOM) == ()


def test_the_warning_says_what_scores_alike() -> None:
    assert "all images and captions score alike" in str(collapse(SAME))
    assert "all images score alike" in str(collapse(BY_CAPTION))
    assert collapse(RANDOM) is None


def test_one_item_is_not_told_apart_from_any() -> None:
    assert indistinct(RANDOM[:1, :1]) == ()
    assert indistinct(RANDOM[:1]) == ()


def test_no_number_is_like_no_other() -> None:
    assert indistinct(np.full((3, 4), np.nan, np.float32)) == ()
