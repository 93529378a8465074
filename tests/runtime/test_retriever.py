from __future__ import annotations

import itertools
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from itr_deploy import Gallery, Hits, Matcher, Retriever
from itr_deploy.errors import GalleryError, InputError, ItrDeployError, UsageError
from tests.support.items import captions, images, names
from tests.support.pairwise import pairwise
from tests.support.retrieval import (
    BOTH,
    CONDITIONS,
    COUNT,
    IMAGES,
    KINDS,
    QUERIES,
    SHORTLISTS,
    SPLITS,
    assert_same,
    on_disk,
    resident,
    search,
    shown,
)


def test_what_is_loaded_says_what_it_is(galleries: dict, matcher: Matcher) -> None:
    retriever = resident(matcher, galleries["image-float16"])
    assert re.fullmatch(
        r"<Retriever of <Gallery of images '/.*', version \d+> "
        r"by <Matcher imram '/.*', onnxruntime .*>>",
        repr(retriever),
    )


# Results


# With the larger budget the vectors are in memory, with the smaller nothing is.
@pytest.mark.parametrize(
    ("budget", "kind", "candidates", "where"),
    pairwise([100_000, 20_000], KINDS, SHORTLISTS, CONDITIONS),
)
def test_memory_and_disk_give_the_same_hits(
    budget: int,
    kind: str,
    candidates: int | None,
    where: str | None,
    galleries: dict,
    matcher: Matcher,
) -> None:
    options = {"k": 10, "candidates": candidates, "where": where}
    gallery = galleries[kind]
    assert_same(
        search(on_disk(matcher, gallery, budget), **options),
        search(resident(matcher, gallery), **options),
    )


@pytest.mark.parametrize("budget", [1, 1_000_000_000])
def test_the_memory_a_search_may_use_does_not_change_its_hits(
    budget: int, galleries: dict, matcher: Matcher
) -> None:
    for kind, candidates in itertools.product(("image-float16", "text-float16"), (None, 20)):
        options = {"k": 7, "candidates": candidates}
        expected = search(resident(matcher, galleries[kind]), **options)
        assert_same(search(on_disk(matcher, galleries[kind], budget), **options), expected)


@BOTH
@pytest.mark.parametrize("where", [None, "split = 'test'"])
@pytest.mark.parametrize("modality", ["image", "text"])
def test_an_exhaustive_search_ranks_by_the_matchers_scores(
    modality: str, where: str | None, form: Any, galleries: dict, matcher: Matcher
) -> None:
    found = search(
        form(matcher, galleries[f"{modality}-float32"]), k=COUNT, candidates=None, where=where
    )
    if modality == "image":
        scores = matcher.score(texts=QUERIES, images=images(COUNT)).T
    else:
        scores = matcher.score(texts=captions(COUNT), images=IMAGES)
    kept = [n for n in range(COUNT) if where is None or n % 3 == 2]
    for hits, row in zip(found, scores, strict=True):
        assert sorted(hits.ids) == [names(COUNT)[n] for n in kept]
        by_id = {hit.id: hit for hit in hits}
        for n in kept:
            hit = by_id[names(COUNT)[n]]
            assert hit.score == pytest.approx(row[n], abs=2e-5)
            assert hit.metadata == {"split": SPLITS[n % 3], "year": n}
        assert (np.diff(hits.scores) <= 0).all()


@BOTH
def test_a_shortlist_holds_the_items_of_the_largest_coarse_product(
    form: Any, galleries: dict, matcher: Matcher
) -> None:
    width = 17
    retriever = form(matcher, galleries["image-float32"])
    found = search(retriever, k=width, candidates=width, prefilter=None)
    coarse = (
        matcher.encode_texts(QUERIES).embedding @ matcher.encode_images(images(COUNT)).embedding.T
    )
    for hits, row in zip(found, coarse, strict=True):
        assert set(hits.ids) == {names(COUNT)[n] for n in np.argsort(-row)[:width]}


@BOTH
@pytest.mark.parametrize(("storage", "cost"), [("float16", 1e-2), ("int8", 5e-2)])
def test_narrow_storage_costs_little(
    storage: str, cost: float, form: Any, galleries: dict, matcher: Matcher
) -> None:
    narrow = search(form(matcher, galleries[f"image-{storage}"]), k=COUNT, candidates=None)
    whole = search(form(matcher, galleries["image-float32"]), k=COUNT, candidates=None)
    for one, other in zip(narrow, whole, strict=True):
        exact = dict(zip(other.ids, other.scores, strict=True))
        errors = [abs(score - exact[name]) for name, score in zip(one.ids, one.scores, strict=True)]
        assert 0 < max(errors) < cost


@BOTH
@pytest.mark.parametrize("candidates", [None, 20])
def test_several_queries_get_the_hits_of_each_alone(
    candidates: int | None, form: Any, galleries: dict, matcher: Matcher
) -> None:
    to_images = form(matcher, galleries["image-float16"])
    alone = [to_images.search(query, k=6, candidates=candidates) for query in QUERIES]
    assert_same(to_images.search(QUERIES, k=6, candidates=candidates), alone, 2e-5)
    to_texts = form(matcher, galleries["text-float16"])
    alone = [to_texts.search(image=image, k=6, candidates=candidates) for image in IMAGES]
    assert_same(to_texts.search(image=IMAGES, k=6, candidates=candidates), alone, 2e-5)


@BOTH
def test_one_query_gives_hits_and_a_list_of_one_gives_a_list(
    form: Any, galleries: dict, matcher: Matcher
) -> None:
    to_images = form(matcher, galleries["image-float16"])
    assert isinstance(to_images.search("a dog"), Hits)
    (only,) = to_images.search(["a dog"])
    assert shown(only) == shown(to_images.search("a dog"))
    assert to_images.search([]) == []
    to_texts = form(matcher, galleries["text-float16"])
    assert isinstance(to_texts.search(image=IMAGES[0]), Hits)
    assert len(to_texts.search(image=IMAGES[:1])) == 1
    assert to_texts.search(image=IMAGES[:0]) == []


@BOTH
@pytest.mark.parametrize("k", [1, 10, COUNT, 10_000])
def test_k_hits_come_or_as_many_as_there_are(
    k: int, form: Any, galleries: dict, matcher: Matcher
) -> None:
    retriever = form(matcher, galleries["image-float16"])
    for candidates in (None, 1, 20):
        hits = retriever.search("a red car", k=k, candidates=candidates)
        assert [hit.rank for hit in hits] == list(range(1, min(k, COUNT) + 1))
    assert len(retriever.search("a red car", k=k, where="split = 'dev'")) == min(k, 50)
    assert len(retriever.search("a red car", k=k, where="year < 0")) == 0


@BOTH
def test_a_shortlist_is_never_narrower_than_the_hits_that_are_asked_for(
    form: Any, galleries: dict, matcher: Matcher
) -> None:
    retriever = form(matcher, galleries["image-float16"])
    assert shown(retriever.search("a dog", k=30, candidates=2)) == shown(
        retriever.search("a dog", k=30, candidates=30)
    )


def test_the_bundle_decides_the_width_by_default(galleries: dict, matcher: Matcher) -> None:
    retriever = resident(matcher, galleries["image-float16"])
    pipeline = matcher.bundle.manifest.pipeline
    assert (pipeline.candidates, pipeline.refine) == (18, 50)
    given = retriever.search("a dog", candidates=18, refine=50)
    assert shown(retriever.search("a dog")) == shown(given)


def test_numpy_numbers_are_numbers(galleries: dict, matcher: Matcher) -> None:
    retriever = resident(matcher, galleries["image-float16"])
    found = retriever.search("a dog", k=np.int64(3), candidates=np.int32(20))
    assert shown(found) == shown(retriever.search("a dog", k=3, candidates=20))


# Ties


@BOTH
@pytest.mark.parametrize("candidates", [None, 5, 15, 25, 37, 119])
def test_equal_scores_are_ordered_by_id_also_at_the_shortlists_edge(
    candidates: int | None, form: Any, repeated: Gallery, matcher: Matcher
) -> None:
    everything = form(matcher, repeated).search(QUERIES, k=120, candidates=None)
    by_image = {
        image: sorted(hit.id for hit in everything[0] if hit.metadata["image"] == image)
        for image in range(12)
    }
    for hits in form(matcher, repeated).search(QUERIES, k=5, candidates=candidates):
        for image, group in itertools.groupby(hits, lambda hit: hit.metadata["image"]):
            found = [hit.id for hit in group]
            assert found == by_image[image][: len(found)]
    full = form(matcher, repeated).search(QUERIES, k=120, candidates=candidates)
    for hits in full:
        groups = [(i, list(g)) for i, g in itertools.groupby(hits, lambda h: h.metadata["image"])]
        assert len(groups) == 12
        for image, group in groups:
            assert [hit.id for hit in group] == by_image[image]
            assert len({hit.score for hit in group}) == 1


@pytest.mark.parametrize("candidates", [5, 15, 25, 37])
def test_memory_and_disk_break_ties_alike(
    candidates: int, repeated: Gallery, matcher: Matcher
) -> None:
    options = {"k": 5, "candidates": candidates}
    assert_same(
        on_disk(matcher, repeated).search(QUERIES, **options),
        resident(matcher, repeated).search(QUERIES, **options),
    )


# Changes


@BOTH
def test_a_loaded_retriever_sees_what_its_gallery_adds_changes_and_removes(
    form: Any, matcher: Matcher, tmp_path: Path
) -> None:
    gallery = Gallery.create(tmp_path / "gallery", matcher)
    retriever = form(matcher, gallery)
    assert len(retriever.search("a dog")) == 0
    gallery.add(names(3), images(3), {"split": ["a", "b", "c"]})
    assert sorted(retriever.search("a dog").ids) == names(3)
    gallery.add(["late"], images(1, seed=5), {"split": ["d"]})
    assert sorted(retriever.search("a dog").ids) == [*names(3), "late"]
    gallery.delete(["item0001"])
    assert sorted(retriever.search("a dog").ids) == ["item0000", "item0002", "late"]
    before = {hit.id: hit.score for hit in retriever.search("a dog")}
    gallery.update(["late"], images(1, seed=6))
    after = {hit.id: hit.score for hit in retriever.search("a dog")}
    assert after["late"] != before["late"]
    assert after["item0000"] == pytest.approx(before["item0000"], abs=1e-6)
    gallery.update(["late"], metadata={"split": ["changed"]})
    assert {hit.id: hit.metadata["split"] for hit in retriever.search("a dog")}["late"] == "changed"
    gallery.delete(gallery.ids())
    assert len(retriever.search("a dog")) == 0
    assert len(retriever.search("a dog", candidates=None, where="id = 'late'")) == 0


@BOTH
def test_changes_of_another_process_are_searched_after_a_refresh(
    form: Any, matcher: Matcher, tmp_path: Path
) -> None:
    writer = Gallery.create(tmp_path / "gallery", matcher)
    writer.add(names(3), images(3))
    retriever = form(matcher, Gallery.open(tmp_path / "gallery", matcher))
    assert len(retriever.search("a dog")) == 3
    assert not retriever.refresh()
    writer.add(["late"], images(1, seed=5))
    assert retriever.refresh()
    assert sorted(retriever.search("a dog").ids) == [*names(3), "late"]


@BOTH
def test_a_retriever_says_which_version_of_how_many_items_it_searches(
    form: Any, matcher: Matcher, tmp_path: Path
) -> None:
    gallery = Gallery.create(tmp_path / "gallery", matcher)
    gallery.add(names(3), images(3))
    retriever = form(matcher, gallery)
    assert retriever.searched is None
    retriever.warm_up()
    assert retriever.searched == (gallery.version, 3)
    gallery.add(["late"], images(1, seed=5))
    retriever.search("a dog")
    assert retriever.searched == (gallery.version, 4)


def test_a_retriever_that_could_not_load_a_change_tries_again(
    matcher: Matcher, tmp_path: Path
) -> None:
    gallery = Gallery.create(tmp_path / "gallery", matcher)
    gallery.add(names(3), images(3))
    retriever = resident(matcher, gallery)
    assert len(retriever.search("a dog")) == 3
    gallery.add(["late"], images(1, seed=5))
    data, hidden = tmp_path / "gallery" / "items.lance" / "data", tmp_path / "hidden"
    data.rename(hidden)
    data.mkdir()
    with pytest.raises(ItrDeployError):
        retriever.search("a dog")
    shutil.rmtree(data)
    hidden.rename(data)
    assert len(retriever.search("a dog")) == 4


# What is refused


@BOTH
def test_an_empty_gallery_gives_no_hits(form: Any, matcher: Matcher, tmp_path: Path) -> None:
    for modality in ("image", "text"):
        gallery = Gallery.create(tmp_path / modality, matcher, modality)
        for hits in search(form(matcher, gallery)):
            assert len(hits) == 0
        for hits in search(form(matcher, gallery), candidates=None, where="id = 'a'"):
            assert len(hits) == 0


@BOTH
@pytest.mark.parametrize("k", [0, -1, 2.5, "3", True, None])
def test_a_k_that_is_none_is_wrong_usage(
    k: Any, form: Any, galleries: dict, matcher: Matcher
) -> None:
    with pytest.raises(UsageError, match=f"k={k!r}") as caught:
        form(matcher, galleries["image-float16"]).search("a dog", k=k)
    assert caught.value.exit_code == 2


@BOTH
@pytest.mark.parametrize("candidates", [0, -1, 2.5, "3", True])
def test_a_width_that_is_none_is_wrong_usage(
    candidates: Any, form: Any, galleries: dict, matcher: Matcher
) -> None:
    with pytest.raises(UsageError, match=f"candidates={candidates!r}"):
        form(matcher, galleries["image-float16"]).search("a dog", candidates=candidates)


@pytest.mark.parametrize(
    ("form", "candidates", "where"),
    pairwise([resident, on_disk], SHORTLISTS, ["colour = 'red'", "split =", "year = 'x' +", ""]),
)
def test_a_filter_that_is_not_understood_is_named(
    where: str, candidates: int | None, form: Any, galleries: dict, matcher: Matcher
) -> None:
    with pytest.raises(GalleryError) as caught:
        form(matcher, galleries["image-float16"]).search(
            "a dog", where=where, candidates=candidates
        )
    assert f"where={where!r} is not understood" in str(caught.value)
    assert "\n" not in str(caught.value)


@BOTH
def test_a_gallery_is_not_searched_with_its_own_modality(
    form: Any, galleries: dict, matcher: Matcher
) -> None:
    with pytest.raises(InputError, match="holds texts; search it with image="):
        form(matcher, galleries["text-float16"]).search("a dog")
    with pytest.raises(InputError, match="holds images; search it with a text"):
        form(matcher, galleries["image-float16"]).search(image=IMAGES[0])


def test_exactly_one_query_is_given(galleries: dict, matcher: Matcher) -> None:
    retriever = resident(matcher, galleries["image-float16"])
    with pytest.raises(UsageError, match="one of them"):
        retriever.search()
    with pytest.raises(UsageError, match="one of them"):
        retriever.search("a dog", image=IMAGES[0])


@pytest.mark.parametrize(
    ("query", "words"),
    [("", "text 0 is empty"), (["a", " "], "text 1 is empty"), (["a", 3], "text 1 is a int"),
     ("dog " * 10_000, "10002 tokens")],
)  # fmt: skip
def test_queries_that_cannot_be_encoded_are_refused(
    query: Any, words: str, galleries: dict, matcher: Matcher
) -> None:
    with pytest.raises(InputError, match=words):
        resident(matcher, galleries["image-float16"]).search(query)


@pytest.mark.parametrize(
    "bad", [np.zeros((5, 31)), np.zeros(32), np.full((5, 32), np.nan), [[1], [1, 2]]]
)
def test_images_that_cannot_be_encoded_are_refused(
    bad: Any, galleries: dict, matcher: Matcher
) -> None:
    with pytest.raises(InputError):
        resident(matcher, galleries["text-float16"]).search(image=bad)


def test_words_the_model_never_saw_are_searched_all_the_same(
    galleries: dict, matcher: Matcher
) -> None:
    hits = resident(matcher, galleries["image-float16"]).search("собака 🐕 zeppelin")
    assert len(hits) == 10
    assert np.isfinite(hits.scores).all()


# Loading


def test_a_retriever_is_loaded_from_paths(bundle: Path, galleries: dict, matcher: Matcher) -> None:
    gallery = galleries["image-float16"]
    expected = shown(resident(matcher, gallery).search("a dog"))
    for given in (gallery.path, Path(gallery.path), gallery):
        loaded = Retriever.load(str(bundle), given)
        loaded.warm_up()
        assert shown(loaded.search("a dog")) == expected


@pytest.mark.parametrize("budget", [1, 10**9])
def test_a_gallery_larger_than_the_memory_stays_on_disk(
    budget: int, bundle: Path, galleries: dict, matcher: Matcher
) -> None:
    gallery = galleries["image-float16"]
    loaded = Retriever.load(bundle, gallery.path, memory_budget=budget)
    assert shown(loaded.search("a dog")) == shown(resident(matcher, gallery).search("a dog"))
    assert type(loaded._searchers.searcher()).__name__ == (
        "DiskSearcher" if budget == 1 else "ResidentSearcher"
    )


def test_threads_get_the_hits_of_a_single_one(galleries: dict, matcher: Matcher) -> None:
    for form, candidates in itertools.product((resident, on_disk), (None, 20)):
        retriever = form(matcher, galleries["image-float16"])
        queries = captions(12, seed=3)
        expected = [retriever.search(q, candidates=candidates) for q in queries]
        fresh = form(matcher, galleries["image-float16"])
        with ThreadPoolExecutor(2) as pool:
            found = list(
                pool.map(lambda q, r=fresh, c=candidates: r.search(q, candidates=c), queries)
            )
        assert_same(found, expected, 2e-5)


@pytest.mark.parametrize("kind", KINDS)
@BOTH
def test_after_warm_up_a_search_loads_no_graph(
    form: Any, kind: str, bundle: Path, galleries: dict
) -> None:
    matcher = Matcher.load(bundle)
    retriever = form(matcher, Gallery.open(galleries[kind].path, matcher))
    retriever.warm_up()
    loaded = set(matcher.backend._sessions)
    search(retriever, where="year >= 0")
    assert set(matcher.backend._sessions) == loaded
    assert any(name.startswith("match_") for name in loaded)
