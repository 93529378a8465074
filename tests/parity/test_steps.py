"""IMRAM's single steps from the bundle, compared with the published form with fewer steps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from itr_deploy import Matcher
from itr_deploy.evaluation.measures.recall import ranks, recall
from itr_deploy.evaluation.scores.combined import Sum
from itr_deploy.models.imram.checkpoint import load
from itr_deploy.models.imram.plain import Imram
from tests.cli.conftest import CAPTIONS
from tests.support.command import Outcome, itr_deploy
from tests.support.exports import Bundles
from tests.support.golden import FULL


@pytest.fixture(scope="module")
def stepped(bundles: Bundles) -> Path:
    return bundles.path(FULL, "--step-scores", "yes")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    root = tmp_path / "data"
    root.mkdir()
    np.save(root / "test_ims.npy", FULL.regions)
    (root / "test_caps.txt").write_text("\n".join(CAPTIONS) + "\n")
    return root


def evaluate(bundle: Path, data: Path, output: Path, *options: object) -> Outcome:
    return itr_deploy("evaluate", bundle, "--data", data, "--output", output, *options)


def published_up_to(step: int, matcher: Matcher) -> np.ndarray:
    """Scores of the published form with its first steps only."""
    trained = load(FULL.checkpoint)
    assert isinstance(trained.plain, Imram)
    trained.plain.config = replace(trained.plain.config, steps=step)
    ids, lengths = matcher.text.token_ids(CAPTIONS)
    inputs = (FULL.regions, ids, lengths)
    with torch.inference_mode():
        scores: np.ndarray = trained.plain.score(*map(torch.from_numpy, inputs)).numpy()
    return scores


def test_the_parts_of_the_steps_are_those_of_the_published_form(
    stepped: Path, data: Path, tmp_path: Path
) -> None:
    outcome = evaluate(stepped, data, tmp_path / "out", "--steps", "--save-scores", "--json")
    assert outcome.code == 0, outcome.err
    planes = np.load(tmp_path / "out/scores/scores.npy")
    matcher = Matcher.load(stepped)
    assert planes.shape == (4, 6, 12)
    np.testing.assert_allclose(planes[1:].sum(axis=0), planes[0], atol=1e-5)
    for step in (1, 2, 3):
        expected = published_up_to(step, matcher)
        np.testing.assert_allclose(planes[1 : step + 1].sum(axis=0), expected, atol=1e-5)
        found = outcome.json["steps"][step - 1]
        assert found["step"] == step
        assert found["up_to"] == recall(ranks(expected, 2)).model_dump()
        assert found["alone"] == recall(ranks(planes[step], 2)).model_dump()
    assert outcome.json["recall"] == outcome.json["steps"][-1]["up_to"]


def test_steps_are_on_the_page_and_in_the_tables(stepped: Path, data: Path, tmp_path: Path) -> None:
    outcome = evaluate(stepped, data, tmp_path / "out", "--steps")
    assert "step 2 alone" in outcome.out
    assert "steps up to 3" in outcome.out
    assert "Matching steps" in (tmp_path / "out/report.html").read_text(encoding="utf-8")


def test_the_scores_are_those_of_a_bundle_without_steps(stepped: Path, matcher: Matcher) -> None:
    scores = Matcher.load(stepped).score(texts=CAPTIONS, images=FULL.regions)
    expected = matcher.score(texts=CAPTIONS, images=FULL.regions)
    np.testing.assert_allclose(scores, expected, atol=1e-6)


def test_a_bundle_without_steps_says_how_to_get_them(
    bundle: Path, data: Path, tmp_path: Path
) -> None:
    outcome = evaluate(bundle, data, tmp_path / "out", "--steps")
    assert outcome.code == 2
    assert "exported with step_scores='yes' (--step-scores yes)" in outcome.error
    assert not (tmp_path / "out").exists()


def test_a_sum_of_matrices_is_read_in_parts() -> None:
    terms = [np.full((3, 4), float(n), np.float32) for n in (1, 2, 3)]
    total = Sum(terms)
    assert total.shape == (3, 4)
    np.testing.assert_array_equal(total[0:2, 1:3], np.full((2, 2), 6.0))
    np.testing.assert_array_equal(terms[0], np.ones((3, 4)))
