"""What a search with a prefilter keeps, according to an evaluation and to real searches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from itr_deploy import Gallery, Matcher, Retriever
from itr_deploy.bundle.manifest import Pipeline
from itr_deploy.bundle.modality import Modality
from itr_deploy.evaluation.data.answers import Answers
from itr_deploy.evaluation.measures.prefilter import (
    Cascade,
    cascade_widths,
    prefilter_scores,
    refine_scores,
    refine_widths,
)
from itr_deploy.evaluation.measures.recall import ranks
from itr_deploy.evaluation.measures.search_stages import staged
from itr_deploy.evaluation.measures.shortlist import prefiltered_order, shortlists
from itr_deploy.evaluation.progress import QUIET
from itr_deploy.evaluation.scores.coarse import Coarse
from itr_deploy.evaluation.scores.split_encoder import SplitItems
from itr_deploy.evaluation.scores.split_scores import SplitScores
from itr_deploy.evaluation.tuning.widths import PairCost, cheapest, measured_cost
from tests.evaluation.measures.test_shortlist import PER, coarse_of, split

QUERIES: tuple[Modality, ...] = ("image", "text")


def data_of(scores: np.ndarray, coarse: Coarse) -> SplitScores:
    return SplitScores(scores, coarse, Answers.equal(len(scores), PER))


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 10_000), images=st.integers(2, 6), width=st.integers(1, 18))
def test_the_prefilter_orders_the_first_of_the_coarse_order_and_leaves_the_rest(
    tmp_path_factory: pytest.TempPathFactory, seed: int, images: int, width: int
) -> None:
    rng = np.random.default_rng(seed)
    coarse = coarse_of(
        tmp_path_factory.mktemp("c"),
        rng.standard_normal((images, 4)),
        rng.standard_normal((images * PER, 4)),
    )
    scores = rng.standard_normal((images, images * PER)).astype(np.float32)
    for query in QUERIES:
        whole = slice(0, coarse.queries(query))
        found = prefiltered_order(coarse, scores, query, width)(whole)
        rows = scores if query == "image" else scores.T
        for by_score, by_coarse, order in zip(rows, coarse.rows(query, whole), found, strict=True):
            expected = np.argsort(-by_coarse).tolist()
            first = sorted(expected[:width], key=lambda item, s=by_score: -s[item])
            assert order.tolist() == first + expected[width:]


def noisy(root: Path) -> tuple[Coarse, np.ndarray, np.ndarray]:
    """A coarse product, a matcher that is near it, and a prefilter that is nearer."""
    rng = np.random.default_rng(0)
    images, texts = rng.standard_normal((30, 8)), rng.standard_normal((90, 8))
    scores = (images @ texts.T + 2 * rng.standard_normal((30, 90))).astype(np.float32)
    first = scores + 0.5 * rng.standard_normal(scores.shape).astype(np.float32)
    return coarse_of(root, images, texts), scores, first


@pytest.mark.parametrize("target", [0.8, 0.99, 1.0])
@pytest.mark.parametrize("query", QUERIES)
def test_the_widths_keep_the_target_and_cost_no_more_than_one_shortlist(
    query: Modality, target: float, tmp_path: Path
) -> None:
    coarse, scores, first = noisy(tmp_path)
    by_coarse = shortlists(data_of(scores, coarse), query, [], exhaustive=True)
    plain = by_coarse.smallest_width(target)
    cost = PairCost(prefilter=0.01, matcher=1)
    found = cheapest(by_coarse, data_of(scores, coarse), query, first, target, cost)
    assert found.prefilter is not None
    assert found.candidates < plain <= found.prefilter <= by_coarse.items
    assert found.cost(cost) < plain
    order = prefiltered_order(coarse, first, query, found.prefilter)
    behind = shortlists(data_of(scores, coarse), query, [], exhaustive=True, order=order)
    assert behind.share(found.candidates) == found.share >= target
    assert behind.share(found.candidates - 1) < target


@pytest.mark.parametrize("target", [0.99, 1.0])
@pytest.mark.parametrize("query", QUERIES)
def test_a_refiner_that_pays_is_taken_and_keeps_the_target(
    query: Modality, target: float, tmp_path: Path
) -> None:
    coarse, scores, first = noisy(tmp_path)
    data, rng = data_of(scores, coarse), np.random.default_rng(1)
    second = scores + 0.1 * rng.standard_normal(scores.shape).astype(np.float32)
    by_coarse = shortlists(data, query, [], exhaustive=True)
    cost = PairCost(prefilter=0.01, matcher=1, refiner=0.1)
    without = cheapest(by_coarse, data, query, first, target, cost)
    found = cheapest(by_coarse, data, query, first, target, cost, second)
    assert found.refine is not None
    assert found.cost(cost) < without.cost(cost)
    assert found.candidates < found.refine < (found.prefilter or by_coarse.items + 1)
    cascade = Cascade(first, {query: found.prefilter}, second, {query: found.refine})
    order = cascade.orders(coarse)[query]
    behind = shortlists(data, query, [], exhaustive=True, order=order)
    assert behind.share(found.candidates) == found.share >= target
    assert found.grown(2).refine == 2 * found.refine
    dear = PairCost(prefilter=0.01, matcher=1, refiner=1)
    assert cheapest(by_coarse, data, query, first, target, dear, second).refine is None


@pytest.mark.parametrize("query", QUERIES)
def test_the_refiner_orders_the_first_of_the_prefilters_order(
    query: Modality, tmp_path: Path
) -> None:
    coarse, second, first = noisy(tmp_path)
    found = Cascade(first, {query: 20}, second, {query: 8}).orders(coarse)
    assert found.keys() == {query}
    whole = slice(0, coarse.queries(query))
    before = prefiltered_order(coarse, first, query, 20)(whole)
    rows = second if query == "image" else second.T
    for by_score, old, new in zip(rows, before, found[query](whole), strict=True):
        assert new.tolist() == [*old[:8][np.argsort(-by_score[old[:8]])], *old[8:]]
    alone = Cascade(None, {}, second, {query: 8})
    assert alone.narrows(query)
    assert alone.orders(coarse).keys() == {query}


def test_a_prefilter_as_dear_as_the_matcher_is_left_out(tmp_path: Path) -> None:
    coarse, scores, first = noisy(tmp_path)
    for query in QUERIES:
        by_coarse = shortlists(data_of(scores, coarse), query, [], exhaustive=True)
        found = cheapest(by_coarse, data_of(scores, coarse), query, first, 0.9, PairCost(1, 1))
        assert found.prefilter is None
        assert found.candidates == by_coarse.smallest_width(0.9)


def test_both_costs_of_a_pair_are_measured(matcher: Matcher) -> None:
    for query in QUERIES:
        cost = measured_cost(SplitItems(matcher, split()), query)
        assert cost.prefilter > 0
        assert cost.matcher > 0


def test_a_prefilter_that_is_not_wider_than_the_matchers_shortlist_is_none(tmp_path: Path) -> None:
    coarse, _, _ = noisy(tmp_path)  # 30 images, 90 texts
    for pipeline, text, image in (
        (Pipeline(candidates=10, prefilter=20), 20, 20),
        (Pipeline(candidates=10, prefilter=500), 30, 90),
        (Pipeline(candidates=40, prefilter=500), None, 90),
        (Pipeline(candidates=10, prefilter=10), None, None),
        (Pipeline(candidates=None, prefilter=20), None, None),
        (Pipeline(candidates=10, prefilter=20, image_query_prefilter=10), 20, None),
        (Pipeline(candidates=10), None, None),
        (Pipeline(candidates=10, refine=20, prefilter=25), 25, 25),
        (Pipeline(candidates=10, refine=20, prefilter=20), None, None),
    ):
        assert cascade_widths(pipeline, coarse) == {"text": text, "image": image}
    wide = Pipeline(candidates=10, refine=40, image_query_candidates=40)
    assert refine_widths(wide, coarse) == {"text": 30, "image": None}


@pytest.mark.parametrize("refine", [None, 6])
def test_the_stage_of_a_cascade_finds_what_a_search_with_its_widths_finds(
    refine: int | None, matcher: Matcher, tmp_path: Path
) -> None:
    data, wide, narrow = split(), 8, 4
    coarse = Coarse.encode(SplitItems(matcher, data), tmp_path / "c")
    scores = matcher.score(texts=data.captions, images=data.regions)
    first = prefilter_scores(SplitItems(matcher, data), tmp_path / "p", False, QUIET).plane()
    second = refine_scores(SplitItems(matcher, data), tmp_path / "r", False, QUIET).plane()
    stages = staged(
        data_of(scores, coarse),
        exhaustive=ranks(scores, PER),
        widths={"text": narrow, "image": None},
        cascade=Cascade(
            first, {"text": wide, "image": None}, second, {"text": refine, "image": None}
        ),
    )
    stage = stages.stages[1]
    refined = "" if refine is None else f"by a refiner of {refine} images or no captions "
    assert stage.name == f"matcher, shortlist of 4 images or all captions {refined}" + (
        "by a prefilter of 8 images or no captions"
    )
    gallery = Gallery.create(tmp_path / "g", matcher, "image", "float32")
    gallery.add(data.image_ids, data.regions)
    retriever = Retriever(matcher, gallery)
    how = {} if refine is None else {"refine": refine}
    hits = retriever.search(data.captions, k=narrow, candidates=narrow, prefilter=wide, **how)
    for number, (rank, hit) in enumerate(zip(stage.of("text"), hits, strict=True)):
        right = data.image_of_caption[number]
        assert (right in hit.ids) == (rank <= narrow)
        if right in hit.ids:
            assert hit.ids.index(right) + 1 == rank
        top = [data.image_ids[item] for item in stages.top(stage, "text", number, narrow)]
        assert top == list(hit.ids)


def test_begun_prefilter_scores_are_gone_on_with(matcher: Matcher, tmp_path: Path) -> None:
    data = split()
    matrix = prefilter_scores(SplitItems(matcher, data), tmp_path / "p", False, QUIET)
    assert matrix.complete
    before = (tmp_path / "p" / "scores.npy").stat().st_mtime_ns
    assert prefilter_scores(SplitItems(matcher, data), tmp_path / "p", False, QUIET).complete
    assert (tmp_path / "p" / "scores.npy").stat().st_mtime_ns == before
