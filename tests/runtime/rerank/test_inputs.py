"""Affinities and edges, compared with the published program's and with ones written out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from itr_deploy.runtime.rerank import (
    ABSENT,
    MatrixSimilarity,
    Shape,
    SimilarityMatrices,
    affinities,
    edges,
)
from tests.support.leaprr import RERANK_CASES, RerankCase

BOTH = pytest.mark.parametrize("query", ["text", "image"])
CASES = pytest.mark.parametrize("case", RERANK_CASES, ids=lambda case: case.name)


def matrices(case: RerankCase, query: str) -> SimilarityMatrices:
    options = case.options
    shape = Shape(case.rows(query), options["sim_len"], options["neighbors"], case.threshold(query))
    scores, of_queries, of_items = case.similarities(query)
    return SimilarityMatrices(
        scores, MatrixSimilarity(of_queries), MatrixSimilarity(of_items), shape
    )


@CASES
@BOTH
def test_the_edges_of_every_query_are_the_published_programs(case: RerankCase, query: str) -> None:
    expected = case.edges(query)
    found = matrices(case, query).inputs(np.arange(len(expected))).edges
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=0)


@CASES
@BOTH
def test_the_affinities_are_those_of_the_definition(case: RerankCase, query: str) -> None:
    scores, of_queries, of_items = case.similarities(query)
    rows, width = case.rows(query), case.options["sim_len"]
    chosen = np.array([3, 0, len(scores) - 1])
    found = matrices(case, query).inputs(chosen)
    for q, got, shortlist in zip(chosen, found.affinities, found.shortlist, strict=True):
        items = sorted(range(scores.shape[1]), key=lambda item: -scores[q, item])
        near = [p for p in sorted(range(len(scores)), key=lambda p: -of_queries[q, p]) if p != q]
        items_of, bank = items[: width - 1], near[: width - 1]
        own = of_queries[q, q]
        expected = [[own, *scores[q, items_of], own, *of_queries[q, bank]]]
        for k in items[: rows - 1]:
            expected.append([scores[q, k], *of_items[k, items_of], scores[q, k], *scores[bank, k]])
        assert shortlist.tolist() == items[: rows - 1]
        np.testing.assert_array_equal(got, np.array(expected, np.float32))


lists = st.integers(0, 2**32 - 1).map(np.random.default_rng)


@given(lists, st.integers(1, 3), st.integers(2, 9), st.integers(1, 6))
def test_edges_are_the_shares_of_the_overlaps(
    rng: np.random.Generator, queries: int, rows: int, length: int
) -> None:
    threshold = 0.8 / rows
    sides = [
        np.stack(
            [[rng.permutation(12)[:length] for _ in range(rows)] for _ in range(queries)]
        ).astype(np.int64)
        for _ in range(2)
    ]
    sides[1][rng.random(sides[1].shape) < 0.2] = ABSENT
    found = edges(*sides, threshold)
    for q in range(queries):
        counts = np.array(
            [
                [
                    sum(len(set(s[q, a]) & set(s[q, b]) - {ABSENT}) for s in sides)
                    for b in range(rows)
                ]
                for a in range(rows)
            ],
            float,
        )
        shares = counts / counts.sum(axis=1, keepdims=True)
        shares[shares <= threshold] = 0
        np.testing.assert_allclose(found[q], shares / shares.sum(axis=1, keepdims=True), rtol=1e-6)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found.sum(axis=2), 1, rtol=1e-6)


def test_more_candidates_than_pillars_and_fewer_are_both_laid_out() -> None:
    for others, pillars in ((5, 2), (2, 5)):
        ranked = np.arange(5.0)[None]
        made = affinities(
            ranked,
            np.array([9.0]),
            np.full((1, pillars), 8.0),
            np.full((1, others, pillars), 7.0),
            np.full((1, pillars, others), 6.0),
        )
        assert made.shape == (1, others + 1, 2 * (pillars + 1))
        assert made[0, 0].tolist() == [9, *ranked[0, :pillars], 9, *[8] * pillars]
        assert made[0, 2].tolist() == [1, *[7] * pillars, 1, *[6] * pillars]
