from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from itr_deploy.bundle.manifest import Pipeline
from itr_deploy.errors import InputError
from itr_deploy.evaluation.data.split import Split
from itr_deploy.evaluation.progress import Bar
from itr_deploy.evaluation.scores.fill import (
    TileScorer,
    fill,
    resume_matrix,
    scoring_digest,
)
from itr_deploy.evaluation.scores.grid import Grid
from itr_deploy.evaluation.scores.matrix import ScoreMatrix
from itr_deploy.evaluation.scores.scorers import BundleScorer
from itr_deploy.evaluation.scores.split_encoder import SplitItems
from itr_deploy.runtime.matcher import Matcher
from tests.support import items

OF = {"bundle": "b", "data": "d"}


def split(images: int = 9, per: int = 3) -> Split:
    names = items.names(images)
    return Split("test", items.images(images), names, items.captions(images * per), per)


def scorer_of(matcher: Matcher, data: Split) -> BundleScorer:
    return BundleScorer(SplitItems(matcher, data))


def open_matrix(root: Path, scorer: TileScorer) -> ScoreMatrix:
    found = resume_matrix(root, OF)
    return found or ScoreMatrix.create(root, OF, scorer.grid, scorer.planes)


def with_budget(matcher: Matcher, size: int) -> Matcher:
    return Matcher(matcher.bundle, matcher.backend, size)


@pytest.mark.parametrize("budget", [1, 60_000, 400_000, 1 << 30])
def test_tiles_of_any_budget_give_the_matchers_scores(
    matcher: Matcher, tmp_path: Path, budget: int
) -> None:
    data = split()
    scorer = scorer_of(with_budget(matcher, budget), data)
    matrix = open_matrix(tmp_path, scorer)
    seen: list[int] = []
    fill(matrix, scorer, Bar(update=seen.append))
    expected = matcher.score(texts=data.captions, images=data.regions)
    np.testing.assert_allclose(matrix.plane()[:, :], expected, atol=1e-6)
    assert len(seen) == len(matrix.grid)
    assert seen[-1] == expected.size


def test_a_small_budget_makes_small_tiles(matcher: Matcher) -> None:
    assert scorer_of(with_budget(matcher, 1), split()).grid == Grid(9, 27, 1, 1)
    assert scorer_of(matcher, split()).grid == Grid(9, 27, 9, 27)


class Counting:
    """Scores with a bundle and notes the tiles it was asked for."""

    planes = 1

    def __init__(self, scorer: BundleScorer, stop_after: int | None = None) -> None:
        self._scorer, self._stop = scorer, stop_after
        self.tiles: list[tuple[slice, slice]] = []

    @property
    def grid(self) -> Grid:
        return self._scorer.grid

    def score(self, images: slice, captions: slice) -> np.ndarray:
        if len(self.tiles) == self._stop:
            raise KeyboardInterrupt
        self.tiles.append((images, captions))
        return self._scorer.score(images, captions)


def test_an_interrupted_run_goes_on_with_the_tiles_that_are_missing(
    matcher: Matcher, tmp_path: Path
) -> None:
    small = with_budget(matcher, 60_000)
    first = Counting(scorer_of(small, split()), stop_after=3)
    matrix = open_matrix(tmp_path, first)
    with pytest.raises(KeyboardInterrupt):
        fill(matrix, first)
    second = Counting(scorer_of(small, split()))
    again = open_matrix(tmp_path, second)
    fill(again, second)
    grid = first.grid
    assert len(first.tiles) == 3
    assert first.tiles + second.tiles == [grid.tile(number) for number in range(len(grid))]
    expected = matcher.score(texts=split().captions, images=split().regions)
    np.testing.assert_allclose(again.plane()[:, :], expected, atol=1e-6)


def test_force_replaces_scores_of_something_else(matcher: Matcher, tmp_path: Path) -> None:
    scorer = scorer_of(matcher, split())
    fill(open_matrix(tmp_path, scorer), scorer)
    other = {**OF, "bundle": "changed"}
    with pytest.raises(InputError, match="scores of another bundle"):
        resume_matrix(tmp_path, other)
    assert resume_matrix(tmp_path, other, force=True) is None
    ScoreMatrix.create(tmp_path, other, scorer.grid)
    assert resume_matrix(tmp_path, other) is not None


def test_an_image_that_is_not_finite_is_named_by_its_place_in_the_split(
    matcher: Matcher, tmp_path: Path
) -> None:
    data = split()
    data.regions[7, 1, 2] = np.nan
    scorer = scorer_of(with_budget(matcher, 60_000), data)
    with pytest.raises(InputError, match="image 7"):
        fill(open_matrix(tmp_path, scorer), scorer)


def test_the_bundles_digest_forgets_the_defaults_of_its_searches_alone(matcher: Matcher) -> None:
    manifest = matcher.bundle.manifest
    tuned = manifest.model_copy(update={"pipeline": Pipeline(candidates=7)})
    other = manifest.model_copy(update={"encoding_id": "0"})
    assert scoring_digest(tuned) == scoring_digest(manifest)
    assert scoring_digest(other) != scoring_digest(manifest)
