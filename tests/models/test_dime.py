"""DIME in PyTorch compared with the published program's results, in both directions."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from itr_deploy.errors import CheckpointError
from itr_deploy.models.bert import BertSizes
from itr_deploy.models.contract import TrainedMatcher
from itr_deploy.models.dime.checkpoint import load
from itr_deploy.models.dime.options import DimeOptions
from itr_deploy.models.imram.checkpoint import load as load_imram
from tests.support.dime import I2T

DATA = Path(__file__).parents[1] / "data" / "dime"


class Case:
    def __init__(self, direction: str) -> None:
        folder = DATA / direction
        self.checkpoint = folder / "model_best.pth.tar"
        self.options = DimeOptions(bert_config=folder / "bert_config.json")
        self.inputs = dict(np.load(folder / "inputs.npz"))
        self.expected = dict(np.load(folder / "expected.npz"))
        names = ("images", "input_ids", "lengths")
        self.arguments = tuple(torch.from_numpy(self.inputs[name]) for name in names)
        self.trained: TrainedMatcher = load(self.checkpoint, self.options)


@pytest.fixture(scope="module", params=["i2t", "t2i"])
def case(request: pytest.FixtureRequest) -> Case:
    return Case(request.param)


def deployed_scores(case: Case, rows: list[int], columns: list[int]) -> np.ndarray:
    """Scores ``[images, texts]`` of some images with some texts, encoded together."""
    deployed = case.trained.deployed
    regions, ids, lengths = case.arguments
    with torch.inference_mode():
        images = deployed.encode_images(regions[rows])[:-1]
        texts = deployed.encode_texts(ids[columns], lengths[columns])[:-1]
        grouped = ([t[None] for t in texts], lengths[columns][None], [t[None] for t in images])
        return deployed.match(*grouped)[0].T.numpy()


def test_the_plain_model_scores_as_published(case: Case) -> None:
    with torch.inference_mode():
        scores = case.trained.plain.score(*case.arguments).numpy()
    np.testing.assert_allclose(scores, case.expected["scores"], atol=1e-5)


def test_the_deployed_form_scores_as_published(case: Case) -> None:
    images, texts = case.expected["scores"].shape
    scores = deployed_scores(case, list(range(images)), list(range(texts)))
    np.testing.assert_allclose(scores, case.expected["scores"], atol=1e-5)


def test_a_pair_scores_the_same_alone_and_in_another_order(case: Case) -> None:
    expected = case.expected["scores"]
    np.testing.assert_allclose(deployed_scores(case, [2], [1]), expected[[2]][:, [1]], atol=1e-5)
    rows, columns = [3, 0, 2], [4, 1]
    scores = deployed_scores(case, rows, columns)
    np.testing.assert_allclose(scores, expected[np.ix_(rows, columns)], atol=1e-5)


def test_without_its_config_the_wrong_bert_is_refused(case: Case) -> None:
    with pytest.raises(CheckpointError):
        load(case.checkpoint)


def test_families_refuse_each_others_checkpoints(case: Case) -> None:
    with pytest.raises(CheckpointError, match="DIME"):
        load_imram(case.checkpoint)
    other = DATA.parent / "imram" / "full_3step" / "model_best.pth.tar"
    with pytest.raises(CheckpointError, match="IMRAM"):
        load(other, case.options)


@pytest.mark.parametrize(
    "changes",
    [
        {"layer_norm_eps": float("nan")},
        {"layer_norm_eps": float("inf")},
        {"hidden_size": 10**30},
        {"num_attention_heads": 0},
    ],
)
def test_a_bert_of_sizes_that_cannot_be_is_refused(changes: dict[str, float]) -> None:
    sizes = json.loads(I2T.bert_config.read_bytes())
    with pytest.raises(CheckpointError, match="must be positive"):
        BertSizes.from_json(json.dumps({**sizes, **changes}))
