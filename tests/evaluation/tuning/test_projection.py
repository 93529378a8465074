from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from itr_deploy.bundle.modality import MODALITIES, Modality, other
from itr_deploy.evaluation.data.answers import Answers
from itr_deploy.evaluation.scores.coarse import Coarse
from itr_deploy.evaluation.scores.split_scores import SplitScores
from itr_deploy.evaluation.tuning.held_out_coarse import HeldOutCoarse
from itr_deploy.evaluation.tuning.projection import LEAST_IMAGES, fit_projection
from itr_deploy.runtime.projection import Projection
from tests.support.coarse import coarse_of

WIDTH, IMAGES, PER = 6, 60, 3
PLANTED = np.roll(np.diag(np.linspace(1, 3, WIDTH)), 1, axis=1)


@pytest.fixture
def coarse(tmp_path: Path) -> Coarse:
    return random_coarse(tmp_path, IMAGES)


def random_coarse(root: Path, images: int) -> Coarse:
    rng = np.random.default_rng(0)
    texts = rng.standard_normal((images * PER, WIDTH))
    return coarse_of(root, rng.standard_normal((images, WIDTH)), texts)


def scores_of(coarse: Coarse, form: np.ndarray, noise: float = 0.0) -> np.ndarray:
    products = (coarse.vectors("text") @ form @ coarse.vectors("image").T).T
    rng = np.random.default_rng(1)
    return (products + noise * rng.standard_normal(products.shape)).astype(np.float32)


def test_a_form_that_shortlists_better_is_taken_in_both_directions(coarse: Coarse) -> None:
    found = fit_projection(
        SplitScores(
            scores_of(coarse, PLANTED, 0.5), coarse, Answers.equal(coarse.queries("image"), PER)
        )
    )
    assert set(found.projection.forms) == {"text", "image"}
    for query, trial in found.trials.items():
        assert trial.taken
        assert trial.items == coarse.items(query) // 2
        assert [kept.width for kept in trial.kept][:2] == [10, 20]
        for kept in trial.kept[:2]:
            assert kept.projected > kept.plain + 0.2


@pytest.mark.parametrize(("form", "noise"), [(np.eye(WIDTH), 0.5), (np.zeros((WIDTH, WIDTH)), 1.0)])
def test_one_that_does_not_help_is_not_taken(
    coarse: Coarse, form: np.ndarray, noise: float
) -> None:
    found = fit_projection(
        SplitScores(
            scores_of(coarse, form, noise), coarse, Answers.equal(coarse.queries("image"), PER)
        )
    )
    assert not found.projection.forms
    assert not any(half.forms for half in found.halves)
    assert not any(trial.taken for trial in found.trials.values())


def test_each_direction_is_decided_on_its_own(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    texts = rng.standard_normal((IMAGES * PER, WIDTH))
    images = rng.standard_normal((IMAGES, WIDTH))
    # What some captions have for all images alike orders captions, and no image.
    texts[:, 0], images[:, 0] = 4 * texts[:, 0], 2
    coarse = coarse_of(tmp_path, images, texts)
    scores = scores_of(coarse, np.diag([0.0] + [1.0] * (WIDTH - 1)))
    found = fit_projection(SplitScores(scores, coarse, Answers.equal(coarse.queries("image"), PER)))
    assert set(found.projection.forms) == {"image"}


def test_the_shares_are_those_of_halves_that_were_not_fitted(coarse: Coarse) -> None:
    scores = scores_of(coarse, PLANTED, 0.5)
    found = fit_projection(SplitScores(scores, coarse, Answers.equal(coarse.queries("image"), PER)))
    odd = {"image": np.arange(IMAGES) % 2 == 1, "text": np.arange(IMAGES * PER) // PER % 2 == 1}
    for query in MODALITIES:
        item = other(query)
        by_query = scores if query == "image" else scores.T
        plain, projected = [], []
        for half in (False, True):
            own, items = (np.flatnonzero(odd[kind] == half) for kind in (query, item))
            queries, gallery = coarse.vectors(query)[own], coarse.vectors(item)[items]
            form = found.halves[not half].forms[query]
            best = np.argsort(-by_query[own][:, items])[:, :10]
            for products, shares in (
                (queries @ gallery.T, plain),
                (queries @ form @ gallery.T, projected),
            ):
                first = np.argsort(-products)[:, :20]
                shares += [np.isin(b, f).mean() for b, f in zip(best, first, strict=True)]
        kept = next(kept for kept in found.trials[query].kept if kept.width == 20)
        assert kept.plain == pytest.approx(np.mean(plain))
        assert kept.projected == pytest.approx(np.mean(projected))


def test_a_split_of_too_few_images_says_nothing(tmp_path: Path) -> None:
    coarse = random_coarse(tmp_path, LEAST_IMAGES - 1)
    found = fit_projection(
        SplitScores(scores_of(coarse, PLANTED), coarse, Answers.equal(coarse.queries("image"), PER))
    )
    assert not found.trials
    assert not found.projection.forms


def test_queries_of_a_half_are_projected_by_the_form_of_the_other(coarse: Coarse) -> None:
    queries: tuple[Modality, ...] = ("text", "image")
    halves = [
        Projection({query: np.full((WIDTH, WIDTH), factor, np.float32) for query in queries})
        for factor in (2, 3)
    ]
    crossed = HeldOutCoarse(
        coarse.root, (halves[0], halves[1]), Answers.equal(coarse.queries("image"), PER)
    )
    for query in queries:
        for part in (slice(0, 12), slice(5, 9)):
            own = coarse.vectors(query)[part]
            numbers = np.arange(part.start, part.stop) // (1 if query == "image" else PER)
            factors = np.where(numbers % 2 == 1, 2, 3)
            expected = own.sum(axis=1, keepdims=True) * factors[:, None]
            found = crossed.query_vectors(query, part)
            np.testing.assert_allclose(found, np.broadcast_to(expected, found.shape), rtol=1e-4)
