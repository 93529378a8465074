"""The trainer of LeaPRR, on a few pictures, and the checkpoint that it writes."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch

from examples.shapes.make_data import make_split
from examples.shapes.recall import recalls
from examples.shapes.similarities import Similarities
from examples.shapes.train_leaprr import (
    CHECKPOINT_NAME,
    FAMILY,
    Learner,
    Ways,
    listwise_loss,
    main,
)
from examples.shapes.training import CHECKPOINTS
from itr_deploy.models.leaprr.checkpoint import load
from tests.support.command import itr_deploy
from tests.support.exports import Bundles
from tests.support.shapes import SHAPES

PICTURES = 14


def similar(pictures: int = 40) -> Similarities:
    """A matcher that is right more often than not."""
    rng = np.random.default_rng(0)
    images = rng.standard_normal((pictures, 8)).astype(np.float32)
    texts = np.repeat(images, 5, axis=0) + rng.standard_normal((5 * pictures, 8)).astype(np.float32)
    return Similarities(images @ texts.T, images, texts)


def options(**changed: object) -> Namespace:
    given = {"pillars": 16, "embed_dim": 24, "depth": 1, "epochs": 12, "batch_size": 16}
    optimiser = {"learning_rate": 3e-3, "weight_decay": 0.0, "temperature": 0.1, "grad_clip": 2.0}
    return Namespace(**{**given, **optimiser, **changed})


def test_a_listwise_loss_is_the_share_of_all_that_are_right() -> None:
    logits = torch.tensor([[1.0, 2.0, 3.0]])
    right = torch.tensor([[True, False, True]])
    weights = logits.exp()
    expected = -torch.log((weights[0, 0] + weights[0, 2]) / weights.sum())
    torch.testing.assert_close(listwise_loss(logits, right), expected)


def test_what_is_right_is_the_querys_own() -> None:
    ways = Ways.of(similar(), 16)
    captions, pictures = ways.by_caption, ways.by_picture
    assert captions.right.shape == (200, 7)
    assert pictures.right.shape == (40, 31)
    for query in (0, 7, 199):
        assert captions.right[query].tolist() == (captions.shortlist[query] == query // 5).tolist()
    assert pictures.right[3].tolist() == [15 <= item < 20 for item in pictures.shortlist[3]]


def test_a_network_learns_its_own_queries() -> None:
    torch.manual_seed(0)
    ways, shuffling = Ways.of(similar(), 16), torch.Generator().manual_seed(0)
    learner = Learner([ways.by_caption], options())
    losses = [learner.epoch(options(), shuffling) for _ in range(12)]
    assert losses[-1] < 0.7 * losses[0]


def test_re_ranked_candidates_stay_above_the_rest() -> None:
    queries = Ways.of(similar(), 16).by_caption
    made = queries.reranked(Learner([queries], options()).model)
    for row, shortlist in zip(made, queries.shortlist, strict=True):
        assert set(np.argsort(-row)[:7]) == set(shortlist)


@pytest.mark.full
def test_training_makes_a_checkpoint_that_exports(bundles: Bundles, tmp_path: Path) -> None:
    base = bundles.path(SHAPES)
    for split in ("rerank", "dev", "test"):
        make_split(split, tmp_path / "data", with_pictures=False, size=PICTURES)
    given = ["--data", tmp_path / "data", "--bundle", base, "--scores", tmp_path / "scores"]
    small = ["--pillars", "12", "--embed-dim", "24", "--depth", "1", "--epochs", "1"]
    words = [*map(str, given), *small, "--output", str(tmp_path / "made"), "--threads", "1"]
    assert main(words) == 0
    checkpoint = tmp_path / "made" / CHECKPOINT_NAME
    content = torch.load(checkpoint, weights_only=True)
    assert content.keys() == {"epoch", "state_dict", "recall"}
    assert content["recall"].keys() == {"r1", "r5", "r10", "rt1", "rt5", "rt10", "rsum"}
    given = ("--checkpoint", checkpoint, "--base", base, "--output", tmp_path / "bundle")
    outcome = itr_deploy("export", FAMILY.name, *given)
    assert outcome.code == 0, outcome.err


def test_absent_data_is_one_line(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    given = ["--data", tmp_path, "--bundle", bundle, "--scores", tmp_path]
    assert main([str(word) for word in given]) == 1
    assert capsys.readouterr().err.startswith("error: ")


@pytest.mark.parametrize("name", ["leaprr", "leaprr_scan", "leaprr_vse_infty"])
def test_the_committed_checkpoint_is_a_small_published_one(name: str) -> None:
    trained = load(CHECKPOINTS / name / CHECKPOINT_NAME, heads=FAMILY.heads)
    assert trained.pillars == 16
    assert (CHECKPOINTS / name / CHECKPOINT_NAME).stat().st_size < 3_000_000


def test_ranks_before_are_the_matchers() -> None:
    data = similar()
    assert Ways.of(data, 16).before() == recalls(data.scores)
