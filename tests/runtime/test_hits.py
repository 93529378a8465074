from __future__ import annotations

import numpy as np
import pytest

from itr_deploy import Hit, Hits


@pytest.fixture
def hits() -> Hits:
    scores = np.array([3.5, 2.5, 1.5], np.float32)
    return Hits(("a", "b", "c"), scores, ({"split": "x"}, {"split": "y"}, {"split": None}))


def test_hits_are_a_sequence_ranked_from_one(hits: Hits) -> None:
    assert len(hits) == 3
    assert [hit.rank for hit in hits] == [1, 2, 3]
    assert hits[0] == Hit("a", 3.5, 1, {"split": "x"})
    assert hits[-1].id == "c"
    assert [hit.id for hit in reversed(hits)] == ["c", "b", "a"]
    assert hits[1] in hits


def test_a_slice_keeps_the_ranks(hits: Hits) -> None:
    assert [(hit.id, hit.rank) for hit in hits[1:]] == [("b", 2), ("c", 3)]


@pytest.mark.parametrize("place", [3, -4])
def test_a_place_that_is_not_there_is_an_index_error(place: int, hits: Hits) -> None:
    with pytest.raises(IndexError):
        hits[place]


def test_scores_are_plain_numbers(hits: Hits) -> None:
    assert type(hits[0].score) is float
