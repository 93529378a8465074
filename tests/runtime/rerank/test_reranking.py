from __future__ import annotations

import logging
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import itr_deploy
from itr_deploy import Gallery, Hits, Matcher, Retriever
from itr_deploy.errors import BundleError, GalleryError, InputError, UsageError
from itr_deploy.runtime.backends import OnnxRuntimeBackend
from itr_deploy.runtime.rerank import MatrixSimilarity, NeighbourLists, Shape, SimilarityMatrices
from itr_deploy.runtime.rerank.reranking import network_scores
from tests.runtime.rerank.conftest import COUNT, World, items
from tests.support.items import captions, images
from tests.support.leaprr import SMALL

BOTH = pytest.mark.parametrize("query", ["text", "image"])
FORMS = pytest.mark.parametrize("resident", [True, False])


def load(world: World, query: str, **options: Any) -> Retriever:
    gallery, bank = world.paths(query)
    return Retriever.load(world.bundle, gallery, **{"bank": bank, **options})


def search(retriever: Retriever, queries: Any, **options: Any) -> list[Hits]:
    options = {"k": 20, "rerank": True, "candidates": None, **options}
    if retriever.gallery.modality == "image":
        return retriever.search(queries, **options)
    return retriever.search(image=queries, **options)


def cosines(vectors: np.ndarray) -> np.ndarray:
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return units @ units.T


class Reference:
    """Re-ranking from whole matrices, queries being the bank's items."""

    def __init__(self, world: World, query: str) -> None:
        self.matcher, self.query = world.matcher, query
        gallery, bank = (Gallery.open(path) for path in world.paths(query))
        self.ids, self.bank_ids = gallery.ids(), bank.ids()
        images, texts = items("image"), items("text")
        scores = self.matcher.score(texts=texts, images=images)
        self.cross_scores = scores.T if query == "text" else scores
        similarities = {
            "image": cosines(self.matcher.encode_images(images).embedding),
            "text": cosines(self.matcher.encode_texts(texts).embedding),
        }
        other = "image" if query == "text" else "text"
        record = self.matcher.bundle.manifest.reranker
        assert record is not None
        direction = record.direction(query)
        self.rows = direction.rows
        self.shape = Shape(direction.rows, record.pillars, record.neighbours, direction.threshold)
        self.similarities = similarities[query], similarities[other]
        self.inputs = SimilarityMatrices(
            self.cross_scores, *map(MatrixSimilarity, self.similarities), self.shape
        ).inputs

    def ranking(self, query: int) -> tuple[list[str], np.ndarray, np.ndarray]:
        """Ids in their final order, the new scores and the places before."""
        made = self.inputs(np.array([query]))
        graph = "rerank_text_to_image" if self.query == "text" else "rerank_image_to_text"
        given = {"affinities": made.affinities, "edges": made.edges}
        scores = self.matcher.backend.run(graph, given)["scores"][0]
        before = np.argsort(-self.cross_scores[query], kind="stable")
        order = np.argsort(-scores, kind="stable")
        final = np.concatenate([before[: self.rows - 1][order], before[self.rows - 1 :]])
        places = np.concatenate([order, np.arange(self.rows - 1, len(before))])
        return [self.ids[row] for row in final], scores[order], places + 1


@BOTH
@FORMS
def test_a_query_of_the_bank_is_re_ranked_as_the_published_evaluation_does(
    query: str, resident: bool, world: World
) -> None:
    reference = Reference(world, query)
    found = search(load(world, query, resident=resident), items(query))
    assert len(found) == COUNT
    for number, hits in enumerate(found):
        ids, scores, places = reference.ranking(number)
        assert list(hits.ids) == ids[:20]
        first = reference.rows - 1
        np.testing.assert_allclose(hits.rerank_scores[:first], scores, atol=2e-5)
        assert np.isnan(hits.rerank_scores[first:]).all()
        assert hits.matcher_ranks.tolist() == places[:20].tolist()


@BOTH
def test_a_query_that_the_bank_does_not_know_is_re_ranked_as_if_it_did(
    query: str, world: World, tmp_path: Path
) -> None:
    whole = search(load(world, query), items(query)[:6])
    gallery, bank = world.paths(query)
    copy = Path(shutil.copytree(bank, tmp_path / "bank"))
    opened = Gallery.open(copy, world.matcher)
    by_place = opened.ids()
    opened.delete(by_place[:1])
    without = Retriever.load(world.bundle, gallery, bank=copy)
    (alone,) = search(without, items(query)[:1])
    assert alone.ids == whole[0].ids
    np.testing.assert_allclose(alone.rerank_scores, whole[0].rerank_scores, atol=2e-5)


@BOTH
def test_the_re_ranked_stay_above_the_rest_and_say_what_they_were(query: str, world: World) -> None:
    retriever = load(world, query)
    plain = search(retriever, items(query, 3, seed=9), rerank=False, k=COUNT)
    found = search(retriever, items(query, 3, seed=9), k=COUNT)
    rows = world.matcher.bundle.manifest.reranker.direction(query).rows
    moved = 0
    for one, other in zip(found, plain, strict=True):
        assert set(one.ids[: rows - 1]) == set(other.ids[: rows - 1])
        assert one.ids[rows - 1 :] == other.ids[rows - 1 :]
        scores = {hit.id: hit.score for hit in other}
        for hit in one:
            assert hit.score == scores[hit.id]
            assert other[hit.matcher_rank - 1].id == hit.id
            assert (hit.rerank_score is not None) == (hit.rank < rows)
            moved += hit.rank != hit.matcher_rank
        assert (np.diff([hit.rerank_score for hit in one[: rows - 1]]) <= 0).all()
        assert [hit.matcher_rank for hit in other] == [hit.rank for hit in other]
        assert {hit.rerank_score for hit in other} == {None}
    assert moved


@BOTH
def test_fewer_hits_than_are_re_ranked_are_the_first_of_all(query: str, world: World) -> None:
    retriever = load(world, query)
    many, few = (search(retriever, items(query, 2, seed=9), k=k) for k in (20, 2))
    for one, other in zip(few, many, strict=True):
        assert one.ids == other.ids[:2]


@BOTH
@FORMS
def test_one_query_gives_what_it_gives_among_others(
    query: str, resident: bool, world: World
) -> None:
    retriever = load(world, query, resident=resident)
    queries = items(query, 4, seed=9)
    together = search(retriever, queries, candidates=12)
    for number, hits in enumerate(together):
        alone = search(retriever, queries[number], candidates=12)
        assert isinstance(alone, Hits)
        assert alone.ids == hits.ids
        np.testing.assert_allclose(alone.rerank_scores, hits.rerank_scores, atol=2e-5)
    assert search(retriever, queries[:0]) == []


def test_many_threads_get_the_same_hits(world: World) -> None:
    retriever = load(world, "text")
    queries = items("text", 8, seed=9)
    expected = [search(load(world, "text"), [one])[0].ids for one in queries]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda one: search(retriever, [one])[0].ids, queries * 3))
    assert found == expected * 3


def test_a_filter_narrows_what_is_re_ranked(world: World) -> None:
    retriever = load(world, "text")
    (hits,) = search(retriever, ["a dog"], where="id < 'image0020'")
    assert len(hits) == 20
    assert all(name < "image0020" for name in hits.ids)
    with pytest.raises(GalleryError, match=r"5 items that where=.* keeps; .* at least 10"):
        search(retriever, ["a dog"], where="id < 'image0005'")


def test_a_search_that_was_not_asked_to_re_rank_needs_no_bank(world: World) -> None:
    gallery, _ = world.paths("text")
    retriever = Retriever.load(world.bundle, gallery)
    assert len(retriever.search("a dog", k=3)) == 3
    with pytest.raises(UsageError, match="a gallery of images needs a bank of texts; give bank="):
        retriever.search("a dog", rerank=True)


def test_a_bundle_without_a_re_ranker_takes_no_bank(world: World, bundle: Path) -> None:
    gallery, bank = world.paths("text")
    with pytest.raises(BundleError, match="has no re-ranker; add one with itr-deploy export lea"):
        Retriever.load(bundle, gallery, bank=bank)


def test_a_bank_of_the_gallerys_own_modality_is_refused(world: World) -> None:
    gallery, _ = world.paths("text")
    with pytest.raises(GalleryError, match=r"holds images; .* re-ranked with a bank of texts"):
        Retriever.load(world.bundle, gallery, bank=gallery)


def test_a_bank_that_is_too_small_says_what_is_needed(world: World, tmp_path: Path) -> None:
    gallery, _ = world.paths("text")
    small = Gallery.create(tmp_path / "bank", world.matcher, "text")
    small.add(list("abcdefgh"), items("text", 8))
    retriever = Retriever.load(world.bundle, gallery, bank=small)
    with pytest.raises(GalleryError, match="8 items; a bank for this re-ranker needs at least 11"):
        retriever.search("a dog", rerank=True)


def test_a_gallery_that_is_too_small_says_what_is_needed(world: World, tmp_path: Path) -> None:
    _, bank = world.paths("text")
    small = Gallery.create(tmp_path / "gallery", world.matcher)
    small.add(list("abcdefgh"), images(8))
    retriever = Retriever.load(world.bundle, small, bank=bank)
    with pytest.raises(GalleryError, match="8 items; this re-ranker needs at least 10"):
        retriever.search("a dog", rerank=True)


def test_what_is_added_to_the_gallery_and_the_bank_is_seen(world: World, tmp_path: Path) -> None:
    gallery, bank = (
        Path(shutil.copytree(path, tmp_path / path.name)) for path in world.paths("text")
    )
    matcher = world.matcher
    opened = [Gallery.open(path, matcher) for path in (gallery, bank)]
    retriever = Retriever.load(world.bundle, opened[0], bank=opened[1])
    (before,) = search(retriever, ["a dog"])
    opened[0].add(["new"], images(1, seed=77))
    opened[1].add(["new"], ["a dog and a cat"])
    (after,) = search(retriever, ["a dog"], k=COUNT + 1)
    assert "new" in after.ids
    assert "new" not in before.ids
    fresh = Retriever.load(world.bundle, gallery, bank=bank)
    (expected,) = search(fresh, ["a dog"], k=COUNT + 1)
    assert after.ids == expected.ids


# Neighbour lists of the user's own


def full_lists(reference: Reference, side: int) -> NeighbourLists:
    """All similarities of one modality as lists, in another order than the gallery's."""
    similarities = np.array(reference.similarities[side], np.float32)
    names = (reference.bank_ids, reference.ids)[side]
    shuffled = np.random.default_rng(3).permutation(len(names))
    similarities = similarities[np.ix_(shuffled, shuffled)]
    order = similarities.copy()
    np.fill_diagonal(order, 2)
    neighbours = np.argsort(-order, axis=1, kind="stable")
    values = np.take_along_axis(similarities, neighbours, axis=1)
    return NeighbourLists(tuple(names[place] for place in shuffled), neighbours, values)


@BOTH
def test_lists_of_all_cosines_give_what_the_pooled_embeddings_give(
    query: str, world: World, tmp_path: Path
) -> None:
    reference = Reference(world, query)
    bank_lists, lists = full_lists(reference, 0), full_lists(reference, 1)
    np.savez(
        tmp_path / "bank.npz",
        ids=np.array(bank_lists.ids),
        neighbours=bank_lists.neighbours,
        similarities=bank_lists.similarities,
    )
    listed = load(world, query, gallery_neighbours=lists, bank_neighbours=tmp_path / "bank.npz")
    found = search(listed, items(query)[:8])
    expected = search(load(world, query), items(query)[:8])
    for one, other in zip(found, expected, strict=True):
        assert one.ids == other.ids
        np.testing.assert_allclose(one.rerank_scores, other.rerank_scores, atol=2e-5)


def test_a_new_query_brings_its_own_neighbours(world: World) -> None:
    reference = Reference(world, "text")
    retriever = load(world, "text", gallery_neighbours=full_lists(reference, 1))
    vectors = world.matcher.encode_texts(["a dog"]).embedding[0]
    embedding = world.matcher.encode_texts(items("text")).embedding
    similar = embedding @ vectors / np.linalg.norm(embedding, axis=1) / np.linalg.norm(vectors)
    order = np.argsort(-similar)
    near = ([reference.bank_ids[row] for row in order], similar[order])
    with pytest.raises(InputError, match="give query_neighbours= with the search"):
        search(retriever, ["a dog"])
    (found,) = search(retriever, ["a dog"], query_neighbours=[near])
    (expected,) = search(load(world, "text"), ["a dog"])
    assert found.ids == expected.ids
    np.testing.assert_allclose(found.rerank_scores, expected.rerank_scores, atol=2e-5)


@pytest.mark.parametrize(
    ("near", "message"),
    [
        ([], "is for 0 queries; there are 1"),
        ([(["text0001"], [0.5])], "names 1 items of the bank besides the query; 9 are needed"),
        ([(["absent"], [0.5])], "names 'absent', not in the bank"),
        ([(["text0001"], [0.5, 0.4])], "expected one finite number an id"),
        ([(["text0001"], [np.nan])], "expected one finite number an id"),
    ],
)
def test_neighbours_of_a_query_that_do_not_fit_are_named(
    near: Any, message: str, world: World
) -> None:
    with pytest.raises(InputError, match=message):
        search(load(world, "text"), ["a dog"], query_neighbours=near)


def test_neighbour_lists_need_a_bank_and_cover_the_gallery(world: World) -> None:
    gallery, bank = world.paths("text")
    one = NeighbourLists(("a",), np.zeros((1, 1), np.int64), np.ones((1, 1), np.float32))
    with pytest.raises(UsageError, match="needs a bank"):
        Retriever.load(world.bundle, gallery, gallery_neighbours=one)
    retriever = Retriever.load(world.bundle, gallery, bank=bank, gallery_neighbours=one)
    with pytest.raises(InputError, match=r"no neighbour list for id 'image.*40 of 40 are missing"):
        retriever.search("a dog", rerank=True)


# What is computed beforehand


def test_a_warning_says_that_a_store_does_not_fit(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    gallery, bank = world.paths("text")
    copy = Path(shutil.copytree(gallery, tmp_path / "gallery"))
    (copy / "phi").mkdir()
    (copy / "phi" / "store.json").write_text("{}")
    retriever = Retriever.load(world.bundle, copy, bank=bank)
    with caplog.at_level(logging.WARNING):
        (found,) = search(retriever, ["a dog"])
    (record,) = caplog.records
    assert "damaged" in record.getMessage()
    assert "itr-deploy index-bank" in record.getMessage()
    assert found.ids == search(load(world, "text"), ["a dog"])[0].ids


def test_a_graph_that_takes_few_queries_is_given_few(world: World) -> None:
    class Narrow(OnnxRuntimeBackend):
        seen: list[int]

        def max_size(self, graph: str, axis: str) -> int:  # type: ignore[override]
            return 3

        def run(self, graph: str, inputs: Any) -> dict[str, np.ndarray]:
            self.seen.append(len(inputs["edges"]))
            return super().run(graph, inputs)

    matcher = world.matcher
    backend = Narrow(matcher.bundle, threads=1)
    backend.seen = []
    made, between = SMALL.given("text")
    made, between = (np.tile(array, (2, 1, 1))[:7] for array in (made, between))
    found = network_scores(Matcher(matcher.bundle, backend), "text", made, between)
    assert backend.seen == [3, 3, 1]
    wanted = network_scores(matcher, "text", made, between)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["lists.npy", "list_scores.npy", "phi.npy", "store.json"])
def test_stored_scores_that_were_damaged_are_found_and_not_used(
    name: str, world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    gallery, bank = world.paths("text")
    copy = Path(shutil.copytree(gallery, tmp_path / "gallery"))
    itr_deploy.index_bank(world.bundle, gallery=copy, bank=bank)
    plain = itr_deploy.inspect(gallery, verify=True)["verified"]["files"]
    assert itr_deploy.inspect(copy, verify=True)["verified"]["files"] == plain + 3
    file = copy / "phi" / name
    content = bytearray(file.read_bytes())
    content[-9] ^= 4
    file.write_bytes(content)
    with pytest.raises(GalleryError, match=r"phi: damaged: .*index-bank"):
        itr_deploy.inspect(copy, verify=True)
    with caplog.at_level(logging.WARNING):
        (found,) = search(Retriever.load(world.bundle, copy, bank=bank), ["a dog"])
    assert "damaged" in caplog.records[0].getMessage()
    assert found.ids == search(load(world, "text"), ["a dog"])[0].ids


def test_a_bank_that_was_made_anew_is_found_by_a_refresh(world: World, tmp_path: Path) -> None:
    gallery, bank = world.paths("text")
    matcher = Matcher.load(world.bundle)
    copy = Path(shutil.copytree(bank, tmp_path / "bank"))
    retriever = Retriever.load(world.bundle, gallery, bank=copy)
    search(retriever, ["a dog"])
    count = Gallery.open(copy).count()
    shutil.rmtree(copy)
    new = Gallery.create(copy, matcher, "text")
    new.add([f"new{number}" for number in range(count)], captions(count, seed=9))
    retriever.refresh()
    fresh = Retriever.load(world.bundle, gallery, bank=copy)
    queries = ["a dog", "a cat"]
    assert search(retriever, queries) == search(fresh, queries)
    assert search(retriever, queries) != search(load(world, "text"), queries)


@FORMS
def test_a_refresh_makes_what_re_ranking_needs_before_it_is_searched(
    resident: bool, world: World, tmp_path: Path
) -> None:
    paths = [Path(shutil.copytree(p, tmp_path / p.name)) for p in world.paths("text")]
    matcher = Matcher.load(world.bundle)
    retriever = Retriever.load(world.bundle, paths[0], bank=paths[1], resident=resident)
    retriever.warm_up()
    writers = [Gallery.open(path, matcher) for path in paths]
    for number, (writer, new) in enumerate(zip(writers, ("image", "text"), strict=True)):
        writer.add([f"new{number}"], items(new, 1, seed=5))
        writer.delete(writer.ids()[:3])
        assert retriever.refresh()
        (known,) = retriever._reranking._known
        assert known.gallery is retriever._searchers.newest
        assert known.bank is retriever._reranking.bank.newest
        fresh = Retriever.load(world.bundle, paths[0], bank=paths[1], resident=resident)
        for found, expected in zip(
            search(retriever, ["a dog", "a cat"]), search(fresh, ["a dog", "a cat"]), strict=True
        ):
            assert found.ids == expected.ids
            np.testing.assert_allclose(found.rerank_scores, expected.rerank_scores, atol=2e-5)
