"""Train IMRAM on the shapes world, or evaluate a checkpoint of it.

The checkpoint has the published form, so that what deploys it here deploys a published one too.
"""

from __future__ import annotations

import argparse
import io
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from examples.shapes.dataset import (
    Split,
    batches_per_epoch,
    padded,
    read_split,
    shuffled_pairs,
)
from examples.shapes.files import replacing, write_text
from examples.shapes.losses import hinge_loss
from examples.shapes.make_data import VOCABULARY_NAME
from examples.shapes.recall import Recalls, recalls
from examples.shapes.vocabulary import read_vocabulary, token_ids
from itr_deploy.errors import ItrDeployError
from itr_deploy.models.imram import Imram, ImramConfig, ImramDeployment, load
from itr_deploy.models.imram.config import MODES

CHECKPOINT_NAME = "model_best.pth.tar"
OUTPUT = Path(__file__).parent / "checkpoints" / "imram"

_BLOCK = 50  # pictures and captions scored at once: bounds the memory
_RISING = 0.15  # share of the training in which the learning rate rises

Score = Callable[[Tensor, Tensor, Tensor], Tensor]


def score_batch(model: ImramDeployment, regions: Tensor, ids: Tensor, lengths: Tensor) -> Tensor:
    """The scores `[N, C]` that `Imram.score` gives, all pairs at once and differentiable."""
    images = [tensor[None] for tensor in model.encode_images(regions)[:-1]]
    texts = [tensor[None] for tensor in model.encode_texts(ids, lengths)[:-1]]
    return model.match(texts, lengths[None], images)[0].T


@torch.no_grad()
def evaluate(score: Score, split: Split, captions: Sequence[Sequence[int]]) -> Recalls:
    """Recall of a split under `score(regions, token_ids, lengths) -> [N, C]`."""
    columns = []
    for start in range(0, len(captions), _BLOCK):
        texts = padded(captions[start : start + _BLOCK])
        columns.append(torch.cat([score(rows, *texts) for rows in split.regions.split(_BLOCK)]))
    return recalls(torch.cat(columns, dim=1).numpy())


class Learner:
    """A model in training: its optimiser and what one step does."""

    def __init__(self, config: ImramConfig, options: Namespace, steps: int) -> None:
        self.model = Imram(config)
        self.deployment = ImramDeployment(self.model, "full")
        self.options = options
        self.optimiser = torch.optim.Adam(self.model.parameters(), options.learning_rate)
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimiser, options.learning_rate, total_steps=steps, pct_start=_RISING
        )

    def score(self, regions: Tensor, ids: Tensor, lengths: Tensor) -> Tensor:
        """The scores `[N, C]` of all pairs."""
        return score_batch(self.deployment, regions, ids, lengths)

    def step(self, regions: Tensor, ids: Tensor, lengths: Tensor, *, hardest: bool) -> float:
        """Learn from pictures and their captions, row by row; returns the loss."""
        scores = self.score(regions, ids, lengths)
        loss = hinge_loss(scores, margin=self.options.margin, hardest=hardest)
        self.optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.options.grad_clip)
        self.optimiser.step()
        self.schedule.step()
        return loss.item()


def train(options: Namespace) -> None:
    """Train, and keep the epoch with the best rsum on dev.

    Raises:
        FileNotFoundError: the data has not been made.
        ValueError: a batch is larger than the training split.
    """
    torch.manual_seed(options.seed)
    shuffling = torch.Generator().manual_seed(options.seed)
    training, dev = read_split(options.data, "train"), read_split(options.data, "dev")
    vocabulary = options.data / VOCABULARY_NAME
    word2idx = read_vocabulary(vocabulary)
    training_ids, dev_ids = ids_of(training, word2idx), ids_of(dev, word2idx)
    config = ImramConfig(
        image_dim=training.regions.shape[-1],
        embed_dim=options.embed_size,
        word_dim=options.word_dim,
        vocab_size=len(word2idx),
        mode=options.mode,
    )
    write_text(options.output / VOCABULARY_NAME, vocabulary.read_text(encoding="utf-8"))
    if options.batch_size > training.pictures:
        raise ValueError(
            f"--batch-size {options.batch_size} is more than the {training.pictures} training "
            "pictures; choose a smaller one"
        )
    steps = options.epochs * batches_per_epoch(training.pictures, options.batch_size)
    learner = Learner(config, options, steps)

    best_rsum = 0.0
    for epoch in range(1, options.epochs + 1):
        began, losses = time.monotonic(), []
        for pictures, captions in shuffled_pairs(training.pictures, options.batch_size, shuffling):
            texts = padded([training_ids[row] for row in captions.tolist()])
            hardest = epoch > options.warm_up
            losses.append(learner.step(training.regions[pictures], *texts, hardest=hardest))
        found = evaluate(learner.score, dev, dev_ids)
        loss, seconds = sum(losses) / len(losses), time.monotonic() - began
        print(f"epoch {epoch}: loss {loss:.4f}, dev {found}, {seconds:.0f} s", flush=True)
        if found.rsum > best_rsum:
            best_rsum = found.rsum
            checkpoint = published_checkpoint(learner.model, options, epoch, best_rsum)
            save_checkpoint(checkpoint, options.output / CHECKPOINT_NAME)


def published_checkpoint(
    model: Imram, options: Namespace, epoch: int, best_rsum: float
) -> dict[str, Any]:
    """The dictionary that the published program saves."""
    config = model.config
    opt = Namespace(
        data_name="shapes",
        img_dim=config.image_dim,
        embed_size=config.embed_dim,
        word_dim=config.word_dim,
        vocab_size=config.vocab_size,
        num_layers=config.num_layers,
        bi_gru=True,
        no_imgnorm=not config.image_norm,
        no_txtnorm=not config.text_norm,
        precomp_enc_type="basic",
        model_mode=config.mode,
        iteration_step=config.steps,
        lambda_softmax=config.temperature,
        raw_feature_norm=config.attention_norm,
        no_IMRAM_norm=not config.memory_norm,
        max_violation=True,
        margin=options.margin,
        num_epochs=options.epochs,
        batch_size=options.batch_size,
        learning_rate=options.learning_rate,
        grad_clip=options.grad_clip,
    )
    weights = {f"module.{key}": value for key, value in model.state_dict().items()}
    return {"epoch": epoch, "model": weights, "best_rsum": best_rsum, "opt": opt}


def save_checkpoint(checkpoint: dict[str, Any], path: Path) -> None:
    """Save whole, and the same bytes whatever the file is called."""
    # Given a path, torch.save writes the file's name into the file.
    buffer = io.BytesIO()
    torch.save(checkpoint, buffer)
    with replacing(path) as temporary:
        temporary.write_bytes(buffer.getvalue())


def report(checkpoint: Path, data: Path, split_name: str) -> None:
    """Print a checkpoint's recall on a split, scored as the published program scores."""
    split = read_split(data, split_name)
    word2idx = read_vocabulary(checkpoint.parent / VOCABULARY_NAME)
    found = evaluate(load(checkpoint).plain.score, split, ids_of(split, word2idx))
    print(f"{split_name}: {split.pictures} pictures, {len(split.captions)} captions: {found}")


def ids_of(split: Split, word2idx: dict[str, int]) -> list[list[int]]:
    """Every caption's token ids."""
    return [token_ids(caption, word2idx) for caption in split.captions]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m examples.shapes.train_imram",
        description="Train IMRAM on the shapes world, or evaluate a checkpoint of it.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--data", type=Path, required=True, help="folder that make_data wrote")
    add("--output", type=Path, default=OUTPUT, help="folder for the checkpoint")
    add("--mode", choices=MODES, default="full_IMRAM", help="which branches make the score")
    add("--epochs", type=int, default=5, help="times round all captions")
    add("--warm-up", type=int, default=1, help="first epochs, with the mean of all hinges")
    add("--batch-size", type=int, default=32, help="pictures in a batch")
    add("--learning-rate", type=float, default=2e-3, help="the highest, early in the training")
    add("--margin", type=float, default=0.2, help="of a right pair over a wrong one")
    add("--grad-clip", type=float, default=2.0, help="highest norm of the gradient")
    add("--embed-size", type=int, default=64, help="width of the joint space")
    add("--word-dim", type=int, default=48, help="width of a word embedding")
    add("--seed", type=int, default=0, help="of the first weights and the order of the batches")
    add("--threads", type=int, default=2, help="the result depends on them in its last digits")
    add("--evaluate", type=Path, metavar="CHECKPOINT", help="only print this checkpoint's recall")
    add("--split", default="test", choices=("train", "dev", "test"), help="split to evaluate on")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Train or evaluate; returns the exit code."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    torch.use_deterministic_algorithms(True)
    try:
        if options.evaluate:
            report(options.evaluate, options.data, options.split)
        else:
            train(options)
    except (OSError, ValueError, ItrDeployError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
