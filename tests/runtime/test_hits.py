from __future__ import annotations

from dataclasses import replace
from typing import Any

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


def copied(hits: Hits, **changes: Any) -> Hits:
    return replace(hits, **{"scores": hits.scores.copy(), **changes})


def test_hits_with_equal_contents_are_equal_and_hash_alike(hits: Hits) -> None:
    other = copied(hits)
    assert hits == hits
    assert hits == other
    assert hash(hits) == hash(other)
    assert {hits, other} == {hits}
    assert [hits] == [other]


@pytest.mark.parametrize(
    "changes",
    [
        {"ids": ("a", "b", "d")},
        {"scores": np.array([3.5, 2.5, 1.25], np.float32)},
        {"metadata": ({"split": "x"}, {"split": "y"}, {"split": "z"})},
        {"rerank_scores": np.ones(3, np.float32)},
        {"matcher_ranks": np.arange(1, 4)},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_hits_that_differ_in_anything_are_not_equal(hits: Hits, changes: dict[str, Any]) -> None:
    assert hits != copied(hits, **changes)


def test_hits_are_not_equal_to_what_is_no_hits(hits: Hits) -> None:
    assert hits != list(hits)
    assert hits != hits.ids


def test_reranked_hits_are_equal_where_none_has_a_new_score(hits: Hits) -> None:
    again = {"rerank_scores": np.array([0.5, np.nan, np.nan], np.float32)}
    again["matcher_ranks"] = np.array([2, 1, 3])
    one, other = (copied(hits, **{k: v.copy() for k, v in again.items()}) for _ in range(2))
    assert one == other
    assert hash(one) == hash(other)
    assert one != copied(hits, **{**again, "rerank_scores": np.ones(3, np.float32)})


def test_a_hit_is_hashable_whatever_its_metadata(hits: Hits) -> None:
    assert len({hits[0], copied(hits)[0], hits[1]}) == 2
