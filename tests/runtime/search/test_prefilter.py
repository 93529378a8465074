"""Searches with a prefilter between the coarse shortlist and the matcher."""

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
from itr_deploy.runtime.gallery import read
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
    shown,
)


@pytest.mark.parametrize("kind", KINDS)
@BOTH
def test_with_both_widths_as_large_as_the_gallery_the_hits_are_the_exhaustive_ones(
    form: Any, kind: str, galleries: dict, matcher: Matcher
) -> None:
    retriever = form(matcher, galleries[kind])
    exhaustive = search(retriever, k=10, candidates=None)
    for width in (COUNT, 10_000):
        assert_same(search(retriever, k=10, candidates=width, prefilter=width), exhaustive)


@BOTH
def test_the_matcher_scores_what_the_prefilter_scores_best_of_the_coarse_shortlist(
    form: Any, galleries: dict, matcher: Matcher
) -> None:
    wide, narrow = 60, 12
    found = search(
        form(matcher, galleries["image-float32"]), k=narrow, candidates=narrow, prefilter=wide
    )
    texts, gallery = matcher.encode_texts(QUERIES), matcher.encode_images(images(COUNT))
    assert matcher.prefilter is not None
    first = matcher.prefilter.score_all(texts, gallery)
    coarse = texts.embedding @ gallery.embedding.T
    for hits, row, by_coarse in zip(found, first, coarse, strict=True):
        shortlist = np.argsort(-by_coarse)[:wide]
        kept = shortlist[np.argsort(-row[shortlist])[:narrow]]
        assert set(hits.ids) == {names(COUNT)[n] for n in kept}
        assert set(hits.ids) != {names(COUNT)[n] for n in np.argsort(-by_coarse)[:narrow]}


@settings(deadline=None, max_examples=8)
@given(
    kind=st.sampled_from(KINDS),
    candidates=st.integers(1, COUNT + 1),
    prefilter=st.integers(1, COUNT + 1),
    budget=st.sampled_from([20_000, 1 << 30]),
)
def test_memory_and_disk_give_the_same_hits_at_any_widths(
    kind: str, candidates: int, prefilter: int, budget: int, galleries: dict, matcher: Matcher
) -> None:
    options = {"k": 5, "candidates": candidates, "prefilter": prefilter}
    gallery = galleries[kind]
    assert_same(
        search(on_disk(matcher, gallery, budget), **options),
        search(resident(matcher, gallery), **options),
    )


@BOTH
@FILTERS
def test_a_filter_narrows_what_the_prefilter_reads(
    where: str | None, form: Any, galleries: dict, matcher: Matcher
) -> None:
    retriever = form(matcher, galleries["image-float16"])
    wide = search(retriever, k=5, candidates=6, prefilter=10_000, where=where)
    kept = {hit for hits in search(retriever, k=COUNT, where=where) for hit in hits.ids}
    for hits in wide:
        assert set(hits.ids) <= kept
        assert len(hits) == min(5, len(kept))


@BOTH
def test_a_prefilter_that_is_not_wider_than_the_shortlist_changes_nothing(
    form: Any, galleries: dict, matcher: Matcher
) -> None:
    retriever = form(matcher, galleries["image-float16"])
    plain = search(retriever, k=5, candidates=20, prefilter=None)
    for prefilter in (1, 20):
        assert_same(search(retriever, k=5, candidates=20, prefilter=prefilter), plain, 0)


@BOTH
def test_an_exhaustive_search_never_prefilters(
    form: Any, galleries: dict, matcher: Matcher
) -> None:
    retriever = form(matcher, galleries["image-float16"])
    exhaustive = search(retriever, k=COUNT, candidates=None)
    assert_same(search(retriever, k=COUNT, candidates=None, prefilter=20), exhaustive, 0)


@pytest.mark.parametrize(("candidates", "prefilter"), [(5, 15), (15, 25), (7, 119), (25, 200)])
def test_ties_fall_the_same_way_in_memory_and_on_disk(
    candidates: int, prefilter: int, repeated: Gallery, matcher: Matcher
) -> None:
    options = {"k": 5, "candidates": candidates, "prefilter": prefilter}
    assert_same(
        search(on_disk(matcher, repeated), **options),
        search(resident(matcher, repeated), **options),
    )


def test_from_disk_the_prefilter_reads_only_its_own_tensors(
    galleries: dict, matcher: Matcher
) -> None:
    gallery = galleries["image-float16"]
    assert matcher.prefilter is not None
    wanted = matcher.prefilter.reads("image", "float16")
    assert wanted == {"regions"}
    assert len(matcher.scorer.reads("image", "float16")) == 5
    rows = read.read_row_ids(gallery)[:3]
    (block,) = read.read_rows(gallery, rows, wanted).encoded.blocks
    assert set(block.tensors) == {"regions"}
    wanted, gallery = matcher.prefilter.reads("image", "int8"), galleries["image-int8"]
    rows = read.read_row_ids(gallery)[:3]
    (block,) = read.read_rows(gallery, rows, wanted).encoded.blocks
    assert set(block.tensors) == wanted == {"regions", "regions_scale"}


def test_the_bundles_pipeline_decides_by_the_querys_modality(
    bundle_copy: Path, galleries: dict
) -> None:
    manifest = read_bundle(bundle_copy).manifest
    pipeline = Pipeline(candidates=7, image_query_candidates=9, prefilter=40)
    write_manifest(bundle_copy, manifest.model_copy(update={"pipeline": pipeline}))
    matcher = Matcher.load(bundle_copy)
    for kind, widths in (("image-float16", (7, 40)), ("text-float16", (9, 40))):
        retriever = Retriever(matcher, Gallery.open(galleries[kind].path, matcher))
        given = search(retriever, k=5, candidates=widths[0], prefilter=widths[1])
        assert_same(search(retriever, k=5), given)
        without = search(retriever, k=5, prefilter=None)
        assert [h.ids for h in without] == [
            h.ids for h in search(retriever, k=5, candidates=widths[0], prefilter=1)
        ]


@BOTH
@pytest.mark.parametrize("prefilter", [0, -1, 2.5, "3", True])
def test_a_width_that_is_none_is_wrong_usage(
    prefilter: Any, form: Any, galleries: dict, matcher: Matcher
) -> None:
    with pytest.raises(UsageError, match=f"prefilter={prefilter!r}"):
        form(matcher, galleries["image-float16"]).search("a dog", prefilter=prefilter)


def test_a_bundle_without_a_prefilter_refuses_a_width_and_searches_without(
    without_prefilter: Path, galleries: dict, matcher: Matcher
) -> None:
    plain = Matcher.load(without_prefilter)
    gallery = Gallery.open(galleries["image-float16"].path, plain)
    retriever = Retriever(plain, gallery)
    expected = resident(matcher, gallery).search("a dog", candidates=20, prefilter=None)
    assert shown(retriever.search("a dog", candidates=20)) == shown(expected)
    assert shown(retriever.search("a dog", candidates=20, prefilter=None)) == shown(expected)
    with pytest.raises(BundleError, match="has no prefilter"):
        retriever.search("a dog", prefilter=20)


def test_on_a_cpu_its_calls_are_small(matcher: Matcher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("itr_deploy.runtime.matcher.PREFILTER_CALL", 1 << 14)
    again = Matcher(matcher.bundle, matcher.backend)
    texts, gallery = again.encode_texts(QUERIES), again.encode_images(images(COUNT))
    pairs: list[int] = []
    tiles: list[int] = []
    assert again.prefilter is not None
    assert matcher.prefilter is not None
    found = again.prefilter.score_all(
        texts, gallery, observe=lambda outputs: pairs.append(outputs["scores"].size)
    )
    expected = matcher.prefilter.score_all(
        texts, gallery, observe=lambda outputs: tiles.append(outputs["scores"].size)
    )
    assert max(pairs) < max(tiles)
    np.testing.assert_allclose(found, expected, atol=1e-6)
