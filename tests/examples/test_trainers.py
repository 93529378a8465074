"""The trainers of DIME and LHSC, and the checkpoints that they made."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from examples.shapes import train_dime, train_lhsc
from examples.shapes.dataset import padded, read_split
from examples.shapes.features import FEATURE_DIM
from examples.shapes.losses import contrastive_loss
from examples.shapes.make_data import VOCABULARY_NAME
from examples.shapes.recall import recalls
from examples.shapes.training import CHECKPOINT_NAME, CHECKPOINTS
from examples.shapes.vocabulary import read_vocabulary, token_ids
from examples.shapes.wordpieces import SPECIAL_TOKENS, build_pieces
from itr_deploy.models.contract import TrainedMatcher
from itr_deploy.models.dime.checkpoint import load as load_dime
from itr_deploy.models.dime.options import DimeOptions
from itr_deploy.models.lhsc.checkpoint import load as load_lhsc


class Trainer(NamedTuple):
    name: str
    main: Callable[[list[str]], int]
    options: list[str]


TRAINERS = [
    Trainer("lhsc", train_lhsc.main, ["--embed-size", "16"]),
    Trainer("dime_i2t", train_dime.main, ["--direction", "i2t", "--embed-size", "16"]),
    Trainer("dime_t2i", train_dime.main, ["--direction", "t2i", "--embed-size", "16"]),
]
BY_NAME = pytest.mark.parametrize("trainer", TRAINERS, ids=lambda trainer: trainer.name)


def load(folder: Path) -> tuple[TrainedMatcher, Callable[[str], list[int]]]:
    """A checkpoint by the SDK's loader, and what turns a caption into its token ids."""
    checkpoint = folder / CHECKPOINT_NAME
    if (folder / train_dime.BERT_CONFIG_NAME).exists():
        options = DimeOptions(bert_config=folder / train_dime.BERT_CONFIG_NAME)
        pieces = (folder / train_dime.VOCABULARY_NAME).read_text().splitlines()
        return load_dime(checkpoint, options), train_dime.token_ids(pieces)
    word2idx = read_vocabulary(folder / VOCABULARY_NAME)
    return load_lhsc(checkpoint), lambda caption: token_ids(caption, word2idx)


@pytest.mark.full
@BY_NAME
def test_a_trained_checkpoint_is_read_by_the_sdk_and_can_be_made_again(
    trainer: Trainer, small_world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    small = ["--epochs", "1", "--batch-size", "6", "--threads", "1", *trainer.options]
    for name in ("first", "second"):
        output = ["--output", str(tmp_path / name)]
        assert trainer.main(["--data", str(small_world), *small, *output]) == 0
    first, second = (load(tmp_path / name)[0] for name in ("first", "second"))
    assert first.image_dim == FEATURE_DIM
    # Not to the bit: gradients of convolutions may be added up in another order.
    split = read_split(small_world, "test")
    texts = padded([[2, 5, 6, 3], [2, 7, 3]])
    with torch.no_grad():
        scores = [trained.plain.score(split.regions, *texts) for trained in (first, second)]
    torch.testing.assert_close(*scores, rtol=0, atol=1e-3)
    checkpoint = str(tmp_path / "first" / CHECKPOINT_NAME)
    assert trainer.main(["--data", str(small_world), "--evaluate", checkpoint]) == 0
    assert "test: 6 pictures, 30 captions: image->text" in capsys.readouterr().out


@BY_NAME
def test_the_committed_checkpoint_finds_pictures_in_its_plain_form(
    trainer: Trainer, small_world: Path
):
    trained, ids_of = load(CHECKPOINTS / trainer.name)
    split = read_split(small_world, "test")
    texts = padded([ids_of(caption) for caption in split.captions])
    with torch.no_grad():
        scores = trained.plain.score(split.regions, *texts)
    assert recalls(scores.numpy()).text_to_image[0] > 40
    assert (CHECKPOINTS / trainer.name / CHECKPOINT_NAME).stat().st_size < 1_600_000


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
    subject.score(split.regions[:3], *texts)
    assert subject.penalty is not None
    assert subject.penalty().item() > 0.8


def test_contrastive_loss_is_the_mean_surprise_both_ways():
    scores = torch.tensor([[0.3, 0.1], [0.0, 0.2]])
    rows = torch.log_softmax(scores / 0.05, dim=1).diag()
    columns = torch.log_softmax(scores / 0.05, dim=0).diag()
    expected = -(rows.mean() + columns.mean()) / 2
    assert contrastive_loss(scores).item() == pytest.approx(expected.item())
    assert contrastive_loss(torch.eye(3) * 9).item() < 1e-6
