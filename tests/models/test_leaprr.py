from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from itr_deploy.errors import CheckpointError
from itr_deploy.models.contract import RerankNetwork, TrainedReranker
from itr_deploy.models.leaprr.checkpoint import load
from itr_deploy.models.leaprr.config import LeaprrConfig
from itr_deploy.models.registry import reranker_family
from tests.support.golden import FULL
from tests.support.leaprr import DIRECTIONS, RERANK_CASES, SMALL, RerankCase

BOTH = pytest.mark.parametrize("query", ["text", "image"])


def network(trained: TrainedReranker, query: str) -> RerankNetwork:
    return trained.text_to_image if query == "text" else trained.image_to_text


def saved(path: Path, change: Any) -> Path:
    content = torch.load(SMALL.checkpoint, weights_only=True)
    change(content)
    torch.save(content, path)
    return path


@BOTH
@pytest.mark.parametrize("case", RERANK_CASES, ids=lambda case: case.name)
def test_scores_are_the_published_programs(case: RerankCase, query: str) -> None:
    model = network(load(case.checkpoint, heads=case.heads), query)
    with torch.inference_mode():
        scores = model(*map(torch.from_numpy, case.given(query)))
    np.testing.assert_allclose(scores, case.scores(query), atol=1e-5, rtol=0)


@BOTH
@pytest.mark.parametrize("case", RERANK_CASES, ids=lambda case: case.name)
def test_rows_are_the_published_programs_up_to_their_norm(case: RerankCase, query: str) -> None:
    model = network(load(case.checkpoint, heads=case.heads), query)
    with torch.inference_mode():
        rows = model.rows(*map(torch.from_numpy, case.given(query)))
    expected = case.expected[f"tokens_{DIRECTIONS[query]}"]
    np.testing.assert_allclose(torch.nn.functional.normalize(rows, dim=-1), expected, atol=1e-5)


def test_the_sizes_are_in_the_weights_and_the_heads_are_given() -> None:
    trained = load(SMALL.checkpoint, heads=4)
    assert trained.heads == 4
    assert trained.pillars == 8
    assert trained.text_to_image.config == LeaprrConfig(8, 24, 4, 96, 2)
    assert reranker_family("leaprr").heads == 24


@pytest.mark.parametrize("heads", [0, 5, 48])
def test_heads_that_do_not_divide_the_width_are_refused(heads: int) -> None:
    with pytest.raises(CheckpointError, match=f"{heads} heads do not divide the width 24"):
        load(SMALL.checkpoint, heads=heads)


def test_heads_change_the_scores() -> None:
    given = [torch.from_numpy(array) for array in SMALL.given("text")]
    with torch.inference_mode():
        four, two = (load(SMALL.checkpoint, heads=h).text_to_image(*given) for h in (4, 2))
    assert (four - two).abs().max() > 1e-3


def test_the_part_that_only_training_uses_may_be_missing(tmp_path: Path) -> None:
    def without(content: dict) -> None:
        for name in DIRECTIONS.values():
            for kind in ("weight", "bias"):
                del content["state_dict"][f"model_{name}.feature_align.layers.0.{kind}"]

    assert load(saved(tmp_path / "c.pth", without), heads=4).pillars == 8


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("state_dict"), "no 'state_dict' in the checkpoint"),
        (lambda c: c.update(state_dict=[1]), "'state_dict' is a list"),
        (lambda c: c.update(state_dict={"a": 1}), "no model_t2i.topk_proj.weight"),
        (lambda c: c["state_dict"].pop("model_i2t.ln.bias"), r"missing \['ln.bias'\]"),
        (lambda c: c["state_dict"].update({"model_t2i.x": torch.ones(1)}), r"unknown \['x'\]"),
        (lambda c: c["state_dict"]["model_t2i.ln.bias"].fill_(torch.nan), "holds NaN"),
        (
            lambda c: c["state_dict"].update({"model_t2i.topk_proj.weight": torch.ones(4)}),
            "not a LeaPRR checkpoint",
        ),
    ],
)
def test_what_is_not_a_leaprr_is_named(change: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=message):
        load(saved(tmp_path / "c.pth", change), heads=4)


def test_another_models_checkpoint_is_refused() -> None:
    with pytest.raises(CheckpointError, match=r"not a LeaPRR checkpoint.*another model, IMRAM"):
        load(FULL.checkpoint)
