"""A split re-ranked both ways, compared with each step written out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from itr_deploy.bundle.manifest import Provenance, RerankDirection, Reranker
from itr_deploy.errors import InputError
from itr_deploy.evaluation.data.answers import Answers
from itr_deploy.evaluation.measures.merge import Rescored
from itr_deploy.evaluation.measures.recall import Ranks, ranks
from itr_deploy.evaluation.measures.reranking import (
    check_enough,
    one_way_ranks,
    one_way_scores,
    reranked,
)
from itr_deploy.evaluation.scores.cosines import Cosines
from itr_deploy.evaluation.scores.grid import Grid
from itr_deploy.evaluation.scores.matrix import ScoreMatrix
from itr_deploy.runtime.rerank import Inputs, MatrixSimilarity, Shape, SimilarityMatrices
from itr_deploy.runtime.rerank.pooled import unit

PER, IMAGES = 3, 9
CAPTIONS = PER * IMAGES
RECORD = Reranker(
    family="leaprr",
    text_to_image=RerankDirection(rows=4, threshold=0.1),
    image_to_text=RerankDirection(rows=6, threshold=0.1),
    pillars=5,
    neighbours=4,
    heads=1,
    intra_similarity="pooled_cosine",
    base_encoding_id="",
    provenance=Provenance(checkpoint="c", checkpoint_sha256="0" * 64, created="", versions={}),
)


class Embeddings:
    """Similarities of random embeddings, of the whole split or of a part."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.vectors = {
            "image": rng.standard_normal((IMAGES, 7)).astype(np.float32),
            "text": rng.standard_normal((CAPTIONS, 7)).astype(np.float32),
        }

    def intra_similarity(self, modality: str, part: slice) -> Cosines:
        return Cosines(self.vectors[modality][part])


def network(query: str, inputs: Inputs) -> np.ndarray:
    """Depends on the query's direction, every affinity and every edge of a candidate's row."""
    weights = np.random.default_rng(len(query)).standard_normal(inputs.affinities.shape[2])
    rows = np.tanh(inputs.affinities @ weights)
    return (inputs.edges @ rows[:, :, None])[:, 1:, 0].astype(np.float32)


def matrix_of(root: Path, scores: np.ndarray) -> ScoreMatrix:
    rows, columns = scores.shape
    matrix = ScoreMatrix.create(root, {}, Grid(rows, columns, rows, columns))
    matrix.write(0, scores[None])
    return matrix


@pytest.fixture
def case(tmp_path: Path) -> tuple[np.ndarray, ScoreMatrix, Embeddings]:
    rng = np.random.default_rng(3)
    scores = rng.uniform(-1, 1, (IMAGES, CAPTIONS)).astype(np.float32)
    return scores, matrix_of(tmp_path / "scores", scores), Embeddings(rng)


def written_out(
    scores: np.ndarray, embeddings: Embeddings, images: slice, captions: slice
) -> np.ndarray:
    """The published merge, one query at a time, from full matrices."""
    own = scores[images, captions]
    similarity = {}
    for modality, part in (("image", images), ("text", captions)):
        units = unit(embeddings.vectors[modality][part])
        similarity[modality] = MatrixSimilarity(units @ units.T)
    merged = []
    for query, other in (("image", "text"), ("text", "image")):
        own_scores = own if query == "image" else own.T
        sizes = RECORD.direction(query)
        shape = Shape(sizes.rows, RECORD.pillars, RECORD.neighbours, sizes.threshold)
        matrices = SimilarityMatrices(own_scores, similarity[query], similarity[other], shape)
        new = np.array(own_scores)
        for number in range(len(own_scores)):
            inputs = matrices.inputs(np.array([number]))
            new[number, inputs.shortlist[0]] = network(query, inputs)[0]
        merged.append(new if query == "image" else new.T)
    return (merged[0] + merged[1]) / 2


@pytest.mark.parametrize("images", [slice(0, IMAGES), slice(1, 8)], ids=["whole", "part"])
def test_the_merge_is_that_of_both_directions_written_out(case: tuple, images: slice) -> None:
    scores, matrix, embeddings = case
    captions = slice(PER * images.start, PER * images.stop)
    found = reranked(matrix, embeddings, images, captions, RECORD, network)
    expected = written_out(scores, embeddings, images, captions)
    np.testing.assert_allclose(found[:, :], expected, atol=1e-5)
    assert not np.allclose(found[:, :], scores[images, captions])


def test_by_order_the_matchers_scores_are_handed_out_anew(case: tuple) -> None:
    scores, matrix, embeddings = case
    whole = slice(0, IMAGES), slice(0, CAPTIONS)
    published = reranked(matrix, embeddings, *whole, RECORD, network)
    ordered = reranked(matrix, embeddings, *whole, RECORD, network, "order")
    for new, handed, own_scores in (
        (published.by_image, ordered.by_image, scores),
        (published.by_caption, ordered.by_caption, scores.T),
    ):
        before = np.take_along_axis(own_scores, new.items, axis=1)
        np.testing.assert_array_equal(np.sort(handed.scores, axis=1), np.sort(before, axis=1))
        order = np.argsort(-new.scores, axis=1)
        assert (np.diff(np.take_along_axis(handed.scores, order, axis=1), axis=1) <= 0).all()


def test_ranks_of_one_direction_are_those_of_the_shortlist_above_the_rest(case: tuple) -> None:
    scores, matrix, embeddings = case
    merge = reranked(matrix, embeddings, slice(0, IMAGES), slice(0, CAPTIONS), RECORD, network)
    found = one_way_ranks(ranks(scores, PER), merge, Answers.equal(len(scores), PER))
    by_image = one_way_scores(merge, "image", slice(0, IMAGES))
    by_caption = one_way_scores(merge, "text", slice(0, CAPTIONS))
    assert found.image_to_text.tolist() == ranks(by_image, PER).image_to_text.tolist()
    assert found.text_to_image.tolist() == ranks(by_caption.T, PER).text_to_image.tolist()
    shortlisted = np.take_along_axis(by_caption, merge.by_caption.items, axis=1)
    rest = np.sort(by_caption, axis=1)[:, : -merge.by_caption.items.shape[1]]
    assert (shortlisted.min(axis=1) > rest.max(axis=1)).all()


def test_queries_that_fell_behind_are_counted() -> None:
    items = np.array([[0, 1], [0, 1]])
    before = np.array([[3, 2], [0.5, 0.1]], np.float32)
    assert Rescored(items, np.full((2, 2), 0.9, np.float32), before).fallen_behind == 0.5


@pytest.mark.parametrize(("images", "captions"), [(4, 99), (99, 4)])
def test_too_few_items_are_one_clear_error(images: int, captions: int) -> None:
    with pytest.raises(
        InputError, match=f"{images} images and {captions} captions .* at least 5 and 5"
    ):
        check_enough(RECORD, images, captions)
    check_enough(RECORD, 5, 5)


@given(seed=st.integers(0, 99), items=st.integers(1, 30), count=st.integers(1, 30))
def test_cosines_are_those_of_the_whole_matrix(seed: int, items: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((items, 5)).astype(np.float32)
    whole = MatrixSimilarity(unit(vectors) @ unit(vectors).T)
    rows = rng.integers(0, items, 7)
    found = Cosines(vectors)
    np.testing.assert_array_equal(found.lists(rows, count), whole.lists(rows, count))
    others = rng.integers(0, items, (7, 3))
    np.testing.assert_allclose(
        found.between(rows[:, None], others), whole.between(rows[:, None], others), atol=1e-6
    )


@pytest.mark.parametrize("counts", [[5, 1, 4, 0, 6, 2, 2, 4, 3], [0, 0, 9, 0, 9, 0, 9, 0, 0]])
def test_any_numbers_of_captions_are_re_ranked_alike(case: tuple, counts: list[int]) -> None:
    scores, matrix, embeddings = case
    answers = Answers.of(counts)
    for images in (slice(0, IMAGES), slice(2, 9)):
        captions = answers.captions(images)
        found = reranked(matrix, embeddings, images, captions, RECORD, network)
        expected = written_out(scores, embeddings, images, captions)
        np.testing.assert_allclose(found[:, :], expected, atol=1e-5)
        own = answers.part(images)
        assert ranks(found, own) == ranks(found[:, :], own)
    merge = reranked(matrix, embeddings, slice(0, IMAGES), slice(0, CAPTIONS), RECORD, network)
    one_way = one_way_ranks(ranks(scores, answers), merge, answers)
    by_image = one_way_scores(merge, "image", slice(0, IMAGES))
    by_caption = one_way_scores(merge, "text", slice(0, CAPTIONS))
    assert one_way == Ranks(
        ranks(by_image, answers).image_to_text, ranks(by_caption.T, answers).text_to_image
    )
