"""Searches with a refiner between the prefilter and the matcher."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from itr_deploy import Gallery, Matcher, Retriever
from itr_deploy.bundle.manifest import Pipeline
from itr_deploy.bundle.store import read_bundle, write_manifest
from itr_deploy.errors import BundleError, UsageError
from itr_deploy.runtime.timing import timed_stages
from tests.support.items import images, names
from tests.support.retrieval import (
    BOTH,
    COUNT,
    FILTERS,
    KINDS,
    QUERIES,
    assert_same,
    on_disk,
    resident,
    search,
)


@pytest.mark.parametrize("kind", KINDS)
@BOTH
def test_with_all_widths_as_large_as_the_gallery_the_hits_are_the_exhaustive_ones(
    form: Any, kind: str, galleries: dict, matcher: Matcher
) -> None:
    retriever = form(matcher, galleries[kind])
    exhaustive = search(retriever, k=10, candidates=None)
    for width in (COUNT, 10_000):
        found = search(retriever, k=10, candidates=width, refine=width, prefilter=width)
        assert_same(found, exhaustive)


@BOTH
def test_each_stage_scores_what_the_one_before_scores_best(
    form: Any, galleries: dict, matcher: Matcher
) -> None:
    wide, middle, narrow = 90, 40, 12
    retriever = form(matcher, galleries["image-float32"])
    with timed_stages() as times:
        found = search(retriever, k=narrow, candidates=narrow, refine=middle, prefilter=wide)
    stages = [name for name in times.seconds if name not in ("encode", "gather")]
    assert stages == ["shortlist", "prefilter", "refine", "match"]
    texts, gallery = matcher.encode_texts(QUERIES), matcher.encode_images(images(COUNT))
    assert matcher.prefilter is not None
    assert matcher.refiner is not None
    coarse = texts.embedding @ gallery.embedding.T
    first = matcher.prefilter.score_all(texts, gallery)
    second = matcher.refiner.score_all(texts, gallery)
    whole = matcher.scorer.score_all(texts, gallery)
    for place, hits in enumerate(found):
        kept = np.arange(COUNT)
        for scores, width in ((coarse, wide), (first, middle), (second, narrow)):
            kept = kept[np.argsort(-scores[place, kept])[:width]]
        by_id = {names(COUNT)[item]: whole[place, item] for item in kept}
        assert set(hits.ids) == set(by_id)
        # What is returned has the matcher's own scores, best first.
        np.testing.assert_allclose(hits.scores, [by_id[name] for name in hits.ids], atol=1e-5)
        assert (np.diff(hits.scores) <= 0).all()


@settings(deadline=None, max_examples=10)
@given(
    kind=st.sampled_from(KINDS),
    k=st.integers(1, 30),
    candidates=st.integers(1, COUNT + 1),
    refine=st.integers(1, COUNT + 1),
    prefilter=st.none() | st.integers(1, COUNT + 1),
    budget=st.sampled_from([20_000, 1 << 30]),
)
def test_memory_and_disk_give_the_same_hits_at_any_widths(
    kind: str,
    k: int,
    candidates: int,
    refine: int,
    prefilter: int | None,
    budget: int,
    galleries: dict,
    matcher: Matcher,
) -> None:
    options = {"k": k, "candidates": candidates, "refine": refine, "prefilter": prefilter}
    gallery = galleries[kind]
    found = search(resident(matcher, gallery), **options)
    assert_same(search(on_disk(matcher, gallery, budget), **options), found)
    assert all(len(hits) == k for hits in found)


@BOTH
def test_several_queries_find_what_each_alone_finds(
    form: Any, galleries: dict, matcher: Matcher
) -> None:
    retriever = form(matcher, galleries["image-float16"])
    options = {"k": 5, "candidates": 7, "refine": 25, "prefilter": 70}
    alone = [retriever.search(query, **options) for query in QUERIES]
    assert_same(retriever.search(QUERIES, **options), alone, 1e-5)


@BOTH
@FILTERS
def test_a_filter_narrows_what_is_refined(
    where: str | None, form: Any, galleries: dict, matcher: Matcher
) -> None:
    retriever = form(matcher, galleries["image-float16"])
    kept = {hit for hits in search(retriever, k=COUNT, where=where) for hit in hits.ids}
    for prefilter in (None, 60, 10_000):
        options = {"k": 5, "candidates": 6, "refine": 20, "prefilter": prefilter}
        for hits in search(retriever, where=where, **options):
            assert set(hits.ids) <= kept
            assert len(hits) == min(5, len(kept))


@BOTH
def test_a_refiner_that_is_not_wider_than_the_matchers_shortlist_changes_nothing(
    form: Any, galleries: dict, matcher: Matcher
) -> None:
    retriever = form(matcher, galleries["image-float16"])
    plain = search(retriever, k=5, candidates=20, prefilter=60, refine=None)
    for refine in (1, 20):
        assert_same(search(retriever, k=5, candidates=20, prefilter=60, refine=refine), plain, 0)


@BOTH
def test_the_matcher_scores_at_least_as_many_as_are_asked_for(
    form: Any, galleries: dict, matcher: Matcher
) -> None:
    retriever = form(matcher, galleries["image-float16"])
    for k in (12, 30, 50):
        more = search(retriever, k=k, candidates=12, refine=30, prefilter=90)
        assert_same(more, search(retriever, k=k, candidates=k, refine=30, prefilter=90), 0)
        assert all(len(hits) == k for hits in more)


@pytest.mark.parametrize(("candidates", "refine"), [(5, 15), (7, 25), (25, 61), (25, 119)])
def test_ties_fall_the_same_way_in_memory_and_on_disk(
    candidates: int, refine: int, repeated: Gallery, matcher: Matcher
) -> None:
    options = {"k": 5, "candidates": candidates, "refine": refine, "prefilter": 118}
    assert_same(
        search(on_disk(matcher, repeated), **options),
        search(resident(matcher, repeated), **options),
    )


def test_the_bundles_pipeline_decides_unless_candidates_are_given(
    bundle_copy: Path, galleries: dict
) -> None:
    manifest = read_bundle(bundle_copy).manifest
    pipeline = Pipeline(
        candidates=11, image_query_candidates=13, prefilter=90, refine=40, image_query_refine=30
    )
    write_manifest(bundle_copy, manifest.model_copy(update={"pipeline": pipeline}))
    matcher = Matcher.load(bundle_copy)
    for kind, narrow, middle in (("image-float16", 11, 40), ("text-float16", 13, 30)):
        retriever = Retriever(matcher, Gallery.open(galleries[kind].path, matcher))
        given = search(retriever, k=5, candidates=narrow, refine=middle, prefilter=90)
        assert_same(search(retriever, k=5), given)
        assert_same(search(retriever, k=5, candidates=narrow, refine=middle), given)
        with timed_stages() as times:
            search(retriever, k=5, candidates=narrow)
        assert "refine" not in times.seconds


def test_more_hits_than_ten_have_as_much_wider_a_shortlist() -> None:
    pipeline = Pipeline(candidates=18, refine=60, prefilter=300, image_query_candidates=30)
    widths = {k: pipeline.width_for("text", k) for k in (1, 10, 11, 20, 34, 60, 90)}
    assert widths == {1: 18, 10: 18, 11: 20, 20: 36, 34: 60, 60: 60, 90: 90}
    assert pipeline.width_for("image", 20) == 60
    assert Pipeline(candidates=40, prefilter=300).width_for("text", 30) == 40
    assert Pipeline(candidates=None, refine=60).width_for("text", 30) is None


@BOTH
@pytest.mark.parametrize("refine", [0, -1, 2.5, "3", True])
def test_a_width_that_is_none_is_wrong_usage(
    refine: Any, form: Any, galleries: dict, matcher: Matcher
) -> None:
    with pytest.raises(UsageError, match=f"refine={refine!r}"):
        form(matcher, galleries["image-float16"]).search("a dog", refine=refine)


def test_a_bundle_without_a_refiner_refuses_a_width_and_searches_without(
    without_prefilter: Path, galleries: dict
) -> None:
    plain = Matcher.load(without_prefilter)
    assert plain.refiner is None
    retriever = Retriever(plain, Gallery.open(galleries["image-float16"].path, plain))
    assert len(retriever.search("a dog", k=3)) == 3
    with pytest.raises(BundleError, match="has no refiner"):
        retriever.search("a dog", refine=20)


def test_a_manifest_without_a_refiner_is_written_as_before_there_was_one() -> None:
    assert not {"refine", "image_query_refine"} & Pipeline(candidates=40).model_dump().keys()
    for pipeline in (Pipeline(refine=60), Pipeline(image_query_refine=5), Pipeline()):
        assert Pipeline.model_validate(pipeline.model_dump()) == pipeline


@pytest.mark.parametrize("kind", ["image-float16", "text-float16"])
def test_by_default_nearly_all_of_the_exhaustive_top_ten_are_found(
    kind: str, galleries: dict, matcher: Matcher
) -> None:
    retriever = resident(matcher, galleries[kind])
    with timed_stages() as times:
        found = search(retriever, k=10)
    assert {"refine", "match"} <= times.seconds.keys()
    exhaustive = search(retriever, k=10, candidates=None)
    kept = 0
    for hits, best in zip(found, exhaustive, strict=True):
        scores = dict(zip(best.ids, best.scores, strict=True))
        same = [name for name in hits.ids if name in scores]
        kept += len(same)
        found_scores = dict(zip(hits.ids, hits.scores, strict=True))
        np.testing.assert_allclose(
            [found_scores[name] for name in same], [scores[name] for name in same], atol=1e-5
        )
    assert kept >= 0.95 * 10 * len(found)
