from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from itr_deploy.bundle.modality import Modality
from itr_deploy.evaluation.data.answers import Answers
from itr_deploy.evaluation.scores.coarse import Coarse
from itr_deploy.evaluation.scores.split_scores import SplitScores
from itr_deploy.evaluation.tuning.ridge import FLOORS, RidgeFit
from tests.support.coarse import coarse_of

WIDTH, IMAGES, TEXTS = 8, 60, 180


@pytest.fixture
def planted() -> np.ndarray:
    """A form, texts on its left, that the dot product knows nothing of."""
    return np.roll(np.diag(np.linspace(1, 3, WIDTH)), 1, axis=1)


@pytest.fixture
def coarse(tmp_path: Path) -> Coarse:
    rng = np.random.default_rng(0)
    return coarse_of(
        tmp_path, rng.standard_normal((IMAGES, WIDTH)), rng.standard_normal((TEXTS, WIDTH))
    )


def scores_of(coarse: Coarse, form: np.ndarray) -> np.ndarray:
    products = coarse.vectors("text") @ form @ coarse.vectors("image").T
    return products.T.astype(np.float32)


def data_of(scores: np.ndarray, coarse: Coarse) -> SplitScores:
    return SplitScores(scores, coarse, Answers.equal(len(scores), 1))


def fit_of(coarse: Coarse, scores: np.ndarray, query: Modality) -> RidgeFit:
    own = np.ones(coarse.queries(query), bool)
    return RidgeFit(data_of(scores, coarse), query, own, np.ones(coarse.items(query), bool))


def kept(products: np.ndarray, scores: np.ndarray) -> float:
    """Share of the best 5 of every row that are among its 10 largest products."""
    found, best = (np.argsort(-values)[:, :n] for values, n in ((products, 10), (scores, 5)))
    return float(np.mean([np.isin(b, f).mean() for b, f in zip(best, found, strict=True)]))


@pytest.mark.parametrize("query", ["text", "image"])
@pytest.mark.parametrize("floor", FLOORS[:2])
def test_it_recovers_a_planted_form(
    coarse: Coarse, planted: np.ndarray, query: Modality, floor: float
) -> None:
    form = fit_of(coarse, scores_of(coarse, planted), query).form(floor, 1e-6)
    rng = np.random.default_rng(1)
    queries, items = rng.standard_normal((50, WIDTH)), rng.standard_normal((100, WIDTH))
    true = planted if query == "text" else planted.T
    assert kept(queries @ items.T, queries @ true @ items.T) < 0.3
    assert kept(queries @ form @ items.T, queries @ true @ items.T) > 0.95


@pytest.mark.parametrize("query", ["text", "image"])
def test_a_large_ridge_leaves_the_dot_product(coarse: Coarse, query: Modality) -> None:
    rng = np.random.default_rng(2)
    scores = scores_of(coarse, np.eye(WIDTH)) + rng.standard_normal((IMAGES, TEXTS))
    form = fit_of(coarse, scores.astype(np.float32), query).form(0.5, 1e9)
    np.testing.assert_allclose(form, np.eye(WIDTH), atol=1e-6)


def test_scores_of_a_query_may_be_shifted_and_scaled(coarse: Coarse, planted: np.ndarray) -> None:
    scores = scores_of(coarse, planted)
    rng = np.random.default_rng(3)
    moved = scores * rng.uniform(0.5, 2, TEXTS) + rng.standard_normal(TEXTS)
    forms = [
        fit_of(coarse, given.astype(np.float32), "text").form(0.5, 1e-3)
        for given in (scores, moved)
    ]
    np.testing.assert_allclose(forms[1], forms[0], atol=1e-4)


@pytest.mark.parametrize("query", ["text", "image"])
def test_only_the_chosen_pairs_are_read(
    coarse: Coarse, planted: np.ndarray, query: Modality
) -> None:
    scores = scores_of(coarse, planted)
    images, texts = np.arange(IMAGES) % 2 == 0, np.arange(TEXTS) // 3 % 2 == 0
    own, items = (texts, images) if query == "text" else (images, texts)
    spoilt = np.where(images[:, None] & texts, scores, 99).astype(np.float32)
    form, same = (
        RidgeFit(data_of(given, coarse), query, own, items).form(0.5, 1e-3)
        for given in (scores, spoilt)
    )
    assert (form == same).all()


def test_scores_that_are_all_the_same_leave_the_dot_product(coarse: Coarse) -> None:
    form = fit_of(coarse, np.ones((IMAGES, TEXTS), np.float32), "text").form(0.5, 1e-3)
    assert (form == np.eye(WIDTH)).all()
