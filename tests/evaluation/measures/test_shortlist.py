from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from itr_deploy import Gallery, Matcher, Retriever
from itr_deploy.bundle.modality import Modality
from itr_deploy.evaluation.data.answers import Answers
from itr_deploy.evaluation.data.split import Split
from itr_deploy.evaluation.measures.recall import ranks
from itr_deploy.evaluation.measures.shortlist import default_widths, shortlists
from itr_deploy.evaluation.scores.coarse import Coarse
from itr_deploy.evaluation.scores.scorers import BundleScorer, ShortlistScorer
from itr_deploy.evaluation.scores.split_encoder import SplitItems
from itr_deploy.evaluation.scores.split_scores import SplitScores
from tests.support import items
from tests.support.coarse import coarse_of

PER = 3


def data_of(scores: np.ndarray, coarse: Coarse) -> SplitScores:
    return SplitScores(scores, coarse, Answers.equal(len(scores), PER))


def split(images: int = 12) -> Split:
    names = items.names(images)
    return Split("test", items.images(images), names, items.captions(images * PER), PER)


def ranked(
    scores: np.ndarray, coarse: np.ndarray, right: set[int], width: int
) -> tuple[int, list[int]]:
    """The best rank of a right answer, and the ranking: a shortlist by score, then the rest."""
    order = sorted(range(len(coarse)), key=lambda item: -coarse[item])
    first = sorted(order[:width], key=lambda item: -scores[item])
    ranking = first + order[width:]
    return 1 + min(ranking.index(item) for item in right), ranking


@settings(deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 10_000),
    images=st.integers(2, 6),
    width=st.integers(1, 18),
    cells=st.integers(1, 200),
)
def test_ranks_are_those_of_the_shortlist_by_score_and_the_rest_by_embedding(
    tmp_path_factory: pytest.TempPathFactory, seed: int, images: int, width: int, cells: int
) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.permutation(images * images * PER).reshape(images, -1).astype(np.float32)
    coarse = coarse_of(
        tmp_path_factory.mktemp("c"),
        rng.standard_normal((images, 4)),
        rng.standard_normal((images * PER, 4)),
    )
    for query in ("image", "text"):
        size = coarse.items(query)
        cut = min(width, size)
        found = shortlists(
            data_of(scores, coarse),
            query,
            [cut],
            exhaustive=True,
            block_cells=cells,
        )
        by_query = scores if query == "image" else scores.T
        whole = slice(0, coarse.queries(query))
        for number, (row, by_coarse) in enumerate(
            zip(by_query, coarse.rows(query, whole), strict=True)
        ):
            right = {number // PER}
            if query == "image":
                right = set(range(number * PER, (number + 1) * PER))
            assert found.ranks[cut][number] == ranked(row, by_coarse, right, cut)[0]
            assert found.coarse[number] == ranked(row, by_coarse, right, 0)[0]
            top = np.argsort(-row)[:10]
            order = np.argsort(-by_coarse).tolist()
            expected = [order.index(item) for item in top.tolist()]
            assert found.places is not None
            assert found.places[number].tolist() == expected


def test_of_any_numbers_of_captions_the_best_right_one_counts(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    answers = Answers.of([2, 0, 4, 1])
    coarse = coarse_of(tmp_path, rng.standard_normal((4, 3)), rng.standard_normal((7, 3)))
    scores = rng.permutation(28).reshape(4, 7).astype(np.float32)
    data = SplitScores(scores, coarse, answers)
    found = shortlists(data, "image", [1, 3, 7], exhaustive=True)
    by_coarse = coarse.rows("image", slice(0, 4))
    for number, row in enumerate(scores):
        right = set(np.flatnonzero(answers.image_of == number).tolist())
        for width in (1, 3, 7):
            expected = ranked(row, by_coarse[number], right, width)[0] if right else 0
            assert found.ranks[width][number] == expected
        assert found.coarse[number] == (ranked(row, by_coarse[number], right, 0)[0] if right else 0)
    assert found.ranks[7].tolist() == ranks(scores, answers).image_to_text.tolist()
    text = shortlists(data, "text", [4], exhaustive=True)
    assert text.ranks[4].tolist() == ranks(scores, answers).text_to_image.tolist()


def test_the_smallest_width_keeps_the_share_and_one_less_does_not(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((20, 8)), rng.standard_normal((60, 8))
    coarse = coarse_of(tmp_path, *vectors)
    scores = (vectors[0] @ vectors[1].T + rng.standard_normal((20, 60))).astype(np.float32)
    queries: tuple[Modality, ...] = ("image", "text")
    for query in queries:
        found = shortlists(data_of(scores, coarse), query, [], exhaustive=True)
        for target in (0.5, 0.9, 0.99, 1.0):
            width = found.smallest_width(target)
            assert found.share(width) >= target
            assert found.share(width - 1) < target
        assert found.share(found.items) == 1


def test_a_shortlist_of_everything_ranks_as_every_score_does(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    coarse = coarse_of(tmp_path, rng.standard_normal((6, 4)), rng.standard_normal((18, 4)))
    scores = rng.integers(0, 4, (6, 18)).astype(np.float32)  # with ties
    exhaustive = ranks(scores, PER)
    image = shortlists(data_of(scores, coarse), "image", [18], exhaustive=True)
    text = shortlists(data_of(scores, coarse), "text", [6], exhaustive=True)
    assert image.ranks[18].tolist() == exhaustive.image_to_text.tolist()
    assert text.ranks[6].tolist() == exhaustive.text_to_image.tolist()


def test_widths_are_below_the_number_of_items() -> None:
    assert default_widths(250) == [10, 20, 50, 100, 200]
    assert default_widths(10) == []


def test_the_coarse_scores_are_the_matchers_whatever_its_memory(
    matcher: Matcher, tmp_path: Path
) -> None:
    data = split()
    images = matcher.encode_images(data.regions).embedding
    texts = matcher.encode_texts(data.captions).embedding
    for number, budget in enumerate((1, 60_000, 1 << 30)):
        small = Matcher(matcher.bundle, matcher.backend, budget)
        coarse = Coarse.encode(SplitItems(small, data), tmp_path / str(number))
        part, whole = slice(3, 7), slice(0, 36)
        np.testing.assert_allclose(coarse.rows("image", part), images[3:7] @ texts.T, atol=1e-6)
        np.testing.assert_allclose(coarse.rows("text", part), texts[3:7] @ images.T, atol=1e-6)
        tile = coarse.tile("image", part, whole)
        np.testing.assert_allclose(tile, images[3:7] @ texts.T, atol=1e-6)


@pytest.mark.parametrize("budget", [60_000, 1 << 30])
def test_a_shortlists_pairs_have_the_scores_that_exhaustive_scoring_gives(
    matcher: Matcher, tmp_path: Path, budget: int
) -> None:
    entries = SplitItems(Matcher(matcher.bundle, matcher.backend, budget), split())
    coarse = Coarse.encode(entries, tmp_path)
    width = 4
    scorer = ShortlistScorer(entries, coarse, width)
    found = np.full((12, 36), -1, np.float32)
    grid = scorer.grid
    for number in range(len(grid)):
        found[grid.tile(number)] = scorer.score(*grid.tile(number))[0]
    every = BundleScorer(entries).score(slice(0, 12), slice(0, 36))[0]
    scored = ~np.isnan(found)
    np.testing.assert_allclose(found[scored], every[scored], atol=1e-6)
    assert scored.sum() == scorer.scored
    by_image, by_text = coarse.rows("image", slice(0, 12)), coarse.rows("text", slice(0, 36))
    for image, row in enumerate(by_image):
        assert scored[image, np.argsort(-row)[:width]].all()
    for caption, row in enumerate(by_text):
        assert scored[np.argsort(-row)[:width], caption].all()
    assert scorer.scored <= width * (12 + 36)


def test_ranks_behind_a_shortlist_are_what_a_search_with_it_finds(
    matcher: Matcher, tmp_path: Path
) -> None:
    data = split()
    coarse = Coarse.encode(SplitItems(matcher, data), tmp_path / "c")
    scores = matcher.score(texts=data.captions, images=data.regions)
    gallery = Gallery.create(tmp_path / "g", matcher, "image", "float32")
    gallery.add(data.image_ids, data.regions)
    hits = Retriever(matcher, gallery).search(data.captions, k=4, candidates=4, prefilter=None)
    found = shortlists(data_of(scores, coarse), "text", [4], exhaustive=True).ranks[4]
    for number, (rank, hit) in enumerate(zip(found, hits, strict=True)):
        right = data.image_of_caption[number]
        assert (right in hit.ids) == (rank <= 4)
        if right in hit.ids:
            assert hit.ids.index(right) + 1 == rank
