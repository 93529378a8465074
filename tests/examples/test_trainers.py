"""The trainers, and the checkpoints that they made."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch

from examples.shapes import train_dime, train_lhsc, train_scan, train_sgraf, train_vse_infty
from examples.shapes.dataset import Split, padded, read_split
from examples.shapes.features import FEATURE_DIM, region_features
from examples.shapes.losses import contrastive_loss
from examples.shapes.make_data import VOCABULARY_NAME, make_split
from examples.shapes.recall import recalls
from examples.shapes.training import CHECKPOINT_NAME, CHECKPOINTS
from examples.shapes.vocabulary import read_vocabulary, token_ids
from examples.shapes.wordpieces import SPECIAL_TOKENS, build_pieces
from itr_deploy.models.contract import TrainedMatcher
from itr_deploy.models.dime.checkpoint import load as load_dime
from itr_deploy.models.dime.options import DimeOptions
from itr_deploy.models.lhsc.checkpoint import load as load_lhsc
from itr_deploy.models.scan.checkpoint import load as load_scan
from itr_deploy.models.scan.config import ScanConfig
from itr_deploy.models.scan.deployed import ScanDeployment
from itr_deploy.models.scan.plain import Scan
from itr_deploy.models.sgraf.checkpoint import load as load_sgraf
from itr_deploy.models.sgraf.config import SgrafConfig
from itr_deploy.models.sgraf.plain import Sgraf
from itr_deploy.models.vse_infty.checkpoint import load as load_vse
from tests.support.command import itr_deploy

Read = Callable[[Path], tuple[TrainedMatcher, Callable[[str], list[int]]]]
"""From a checkpoint's folder: the SDK's model, and what turns a caption into its token ids."""


class Trainer(NamedTuple):
    name: str
    main: Callable[[list[str]], int]
    options: list[str]
    read: Read
    pictures: bool = False

    def split(self, world: Path) -> Split:
        return read_split(world, "test", pictures=self.pictures)


def read_dime(folder: Path) -> tuple[TrainedMatcher, Callable[[str], list[int]]]:
    options = DimeOptions(bert_config=folder / train_dime.BERT_CONFIG_NAME)
    pieces = (folder / train_dime.VOCABULARY_NAME).read_text().splitlines()
    return load_dime(folder / CHECKPOINT_NAME, options), train_dime.token_ids(pieces)


def with_words(load: Callable[[Path], TrainedMatcher]) -> Read:
    def read(folder: Path) -> tuple[TrainedMatcher, Callable[[str], list[int]]]:
        word2idx = read_vocabulary(folder / VOCABULARY_NAME)
        return load(folder / CHECKPOINT_NAME), lambda caption: token_ids(caption, word2idx)

    return read


SMALL = ["--embed-size", "16"]
SMALL_GRID = [*SMALL, "--pictures", "--planes", "4", "4", "4", "8", "--input-scale-factor", "0.25"]
TRAINERS = [
    Trainer("lhsc", train_lhsc.main, SMALL, with_words(load_lhsc)),
    Trainer("dime_i2t", train_dime.main, ["--direction", "i2t", *SMALL], read_dime),
    Trainer("dime_t2i", train_dime.main, ["--direction", "t2i", *SMALL], read_dime),
    *(
        pytest.param(trainer, marks=pytest.mark.full)
        for trainer in (
            Trainer("scan", train_scan.main, SMALL, with_words(load_scan)),
            Trainer("sgraf_saf", train_sgraf.main, SMALL, with_words(load_sgraf)),
            Trainer("vse_infty", train_vse_infty.main, SMALL, with_words(load_vse)),
            Trainer("vse_infty_grid", train_vse_infty.main, SMALL_GRID, with_words(load_vse), True),
        )
    ),
]
BY_NAME = pytest.mark.parametrize("trainer", TRAINERS, ids=lambda trainer: trainer.name)


@pytest.fixture(scope="module")
def world_with_pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for split, size in (("train", 12), ("dev", 4), ("test", 6)):
        make_split(split, folder, with_pictures=True, size=size)
    return folder


@pytest.mark.full
@BY_NAME
def test_a_trained_checkpoint_is_read_by_the_sdk_and_can_be_made_again(
    trainer: Trainer,
    world_with_pictures: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    data = ["--data", str(world_with_pictures)]
    small = ["--epochs", "1", "--batch-size", "6", "--threads", "1", *trainer.options]
    for name in ("first", "second"):
        assert trainer.main([*data, *small, "--output", str(tmp_path / name)]) == 0
    first, second = (trainer.read(tmp_path / name)[0] for name in ("first", "second"))
    assert first.image_dim == (4 * 8 if trainer.pictures else FEATURE_DIM)
    # Not to the bit: gradients of convolutions may be added up in another order.
    split = trainer.split(world_with_pictures)
    texts = padded([[2, 5, 6, 3], [2, 7, 3]])
    with torch.no_grad():
        scores = [trained.plain.score(split.images, *texts) for trained in (first, second)]
    torch.testing.assert_close(*scores, rtol=0, atol=1e-3)
    checkpoint = str(tmp_path / "first" / CHECKPOINT_NAME)
    assert trainer.main([*data, "--evaluate", checkpoint]) == 0
    assert "test: 6 pictures, 30 captions: image->text" in capsys.readouterr().out


@BY_NAME
def test_the_committed_checkpoint_finds_pictures_in_its_plain_form(
    trainer: Trainer, small_world: Path
):
    trained, ids_of = trainer.read(CHECKPOINTS / trainer.name)
    split = trainer.split(small_world)
    texts = padded([ids_of(caption) for caption in split.captions])
    with torch.no_grad():
        scores = trained.plain.score(split.images, *texts)
    assert recalls(scores.numpy()).text_to_image[0] > 40
    assert (CHECKPOINTS / trainer.name / CHECKPOINT_NAME).stat().st_size < 1_600_000


@pytest.mark.full
@pytest.mark.parametrize(
    ("family", "name"),
    [
        ("scan", "scan"),
        ("sgraf", "sgraf_saf"),
        ("vse_infty", "vse_infty"),
        ("vse_infty", "vse_infty_grid"),
    ],
)
def test_the_committed_checkpoint_exports(family: str, name: str, tmp_path: Path):
    folder = CHECKPOINTS / name
    files = ("--checkpoint", folder / CHECKPOINT_NAME, "--vocab", folder / VOCABULARY_NAME)
    outcome = itr_deploy("export", family, *files, "--output", tmp_path / "bundle")
    assert outcome.code == 0, outcome.err


@pytest.mark.full
def test_a_grid_can_start_with_the_words_of_regions(world_with_pictures: Path, tmp_path: Path):
    data = ["--data", str(world_with_pictures), "--epochs", "1", "--batch-size", "6", *SMALL]
    regions, grid = tmp_path / "regions", tmp_path / "grid"
    assert train_vse_infty.main([*data, "--output", str(regions)]) == 0
    start = ["--text-from", str(regions / CHECKPOINT_NAME), "--learning-rate", "0"]
    assert train_vse_infty.main([*data, *SMALL_GRID, *start, "--output", str(grid)]) == 0
    given, kept = (torch.load(f / CHECKPOINT_NAME, weights_only=False) for f in (regions, grid))
    for key, weight in given["model"][1].items():
        torch.testing.assert_close(kept["model"][1][f"module.{key}"], weight, rtol=0, atol=0)


def test_a_picture_that_was_not_written_is_said_with_the_command(small_world: Path):
    with pytest.raises(FileNotFoundError, match=r"train_0000.png: no such file; .* --pictures"):
        read_split(small_world, "train", pictures=True)


def test_pictures_are_read_in_the_order_of_their_features(small_world: Path):
    split = read_split(small_world, "test", pictures=True)
    assert (split.images.dtype, tuple(split.images.shape)) == (torch.uint8, (6, 120, 120, 3))
    features = read_split(small_world, "test").images
    for picture, known in zip(split.images, features, strict=True):
        np.testing.assert_array_equal(region_features(picture.numpy()), known.numpy())


@pytest.mark.parametrize("direction", ["t2i", "i2t"])
def test_scan_scores_a_batch_as_it_scores_pair_by_pair(direction: str):
    torch.manual_seed(0)
    model = Scan(ScanConfig(6, 8, 5, 9, direction, aggregation="Mean"))
    regions = torch.randn(3, 4, 6)
    texts = padded([[1, 5, 6, 2], [1, 7, 2]])
    batched = train_scan.score_batch(ScanDeployment(model), regions, *texts)
    torch.testing.assert_close(batched, model.score(regions, *texts), rtol=0, atol=1e-5)


def test_saf_scores_a_batch_as_it_scores_pair_by_pair():
    torch.manual_seed(0)
    model = Sgraf(SgrafConfig(6, 8, 5, 5, 9, "SAF", 0, regions=4)).eval()
    regions = torch.randn(3, 4, 6)
    texts = padded([[1, 5, 6, 2], [1, 7, 2]])
    batched = train_sgraf.score_batch(model, regions, *texts)
    torch.testing.assert_close(batched, model.score(regions, *texts), rtol=0, atol=1e-5)
    batched.sum().backward()
    assert all(weight.grad.isfinite().all() for weight in model.parameters())


def test_pieces_spell_words_that_no_caption_had():
    pieces = build_pieces(["A star and a ring"])
    assert tuple(pieces[: len(SPECIAL_TOKENS)]) == SPECIAL_TOKENS
    assert len(set(pieces)) == len(pieces)
    found = [pieces[number] for number in train_dime.token_ids(pieces)("a Starring moon")]
    assert found == ["[CLS]", "a", "star", "##r", "##i", "##n", "##g", "m", "##o", "##o", "##n",
                     "[SEP]"]  # fmt: skip


def test_a_dime_starts_with_every_gate_open(small_world: Path):
    from argparse import Namespace

    split = read_split(small_world, "train")
    options = Namespace(direction="i2t", embed_size=16, bert_size=16, gate_penalty=1.0)
    subject = train_dime.build(options, split)
    texts = padded([subject.token_ids(caption) for caption in split.captions[:3]])
    subject.score(split.images[:3], *texts)
    assert subject.penalty is not None
    assert subject.penalty().item() > 0.8


def test_contrastive_loss_is_the_mean_surprise_both_ways():
    scores = torch.tensor([[0.3, 0.1], [0.0, 0.2]])
    rows = torch.log_softmax(scores / 0.05, dim=1).diag()
    columns = torch.log_softmax(scores / 0.05, dim=0).diag()
    expected = -(rows.mean() + columns.mean()) / 2
    assert contrastive_loss(scores).item() == pytest.approx(expected.item())
    assert contrastive_loss(torch.eye(3) * 9).item() < 1e-6
