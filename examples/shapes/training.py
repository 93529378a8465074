"""Training and measuring, for any model of the field."""

from __future__ import annotations

import argparse
import io
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from examples.shapes.dataset import (
    Split,
    batches_per_epoch,
    padded,
    read_split,
    shuffled_pairs,
)
from examples.shapes.files import replacing, write_text
from examples.shapes.losses import contrastive_loss, hinge_loss
from examples.shapes.recall import Recalls, recalls
from itr_deploy.errors import ItrDeployError

CHECKPOINT_NAME = "model_best.pth.tar"
CHECKPOINTS = Path(__file__).parent / "checkpoints"

_BLOCK = 50  # pictures and captions scored at once: bounds the memory
_RISING = 0.15  # share of the training in which the learning rate rises

Score = Callable[[Tensor, Tensor, Tensor], Tensor]
TokenIds = Callable[[str], list[int]]


@dataclass
class Subject:
    """A model to train.

    Attributes:
        model: The module whose parameters are trained.
        score: Scores `[N, C]` of all pairs of a batch, differentiable.
        evaluated: The same scores when the model is evaluated.
        token_ids: A caption's token ids.
        published: The checkpoint's weights and options, as the published program saves them.
        files: The files stored next to the checkpoint, by name.
        penalty: Added to the loss of the last scored batch.
    """

    model: nn.Module
    score: Score
    evaluated: Score
    token_ids: TokenIds
    published: Callable[[], dict[str, Any]]
    files: Mapping[str, str] = field(default_factory=dict)
    penalty: Callable[[], Tensor] | None = None


Build = Callable[[Namespace, Split], Subject]


@torch.no_grad()
def evaluate(score: Score, split: Split, captions: Sequence[Sequence[int]]) -> Recalls:
    """Recall of a split with `score(images, token_ids, lengths) -> [N, C]`."""
    columns = []
    for start in range(0, len(captions), _BLOCK):
        texts = padded(captions[start : start + _BLOCK])
        columns.append(torch.cat([score(rows, *texts) for rows in split.images.split(_BLOCK)]))
    return recalls(torch.cat(columns, dim=1).numpy())


class Learner:
    """A model in training: its optimiser and a training step."""

    def __init__(self, subject: Subject, options: Namespace, steps: int) -> None:
        self.subject = subject
        self.options = options
        parameters = subject.model.parameters()
        self.optimiser = torch.optim.Adam(parameters, options.learning_rate)
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimiser, options.learning_rate, total_steps=steps, pct_start=_RISING
        )

    def step(self, images: Tensor, ids: Tensor, lengths: Tensor, *, hardest: bool) -> float:
        """Learn from pictures and captions that belong together row by row; returns the loss."""
        scores = self.subject.score(images, ids, lengths)
        if self.options.loss == "contrastive":
            loss = contrastive_loss(scores)
        else:
            loss = hinge_loss(scores, margin=self.options.margin, hardest=hardest)
        self.optimiser.zero_grad()
        (loss + self.subject.penalty() if self.subject.penalty else loss).backward()
        nn.utils.clip_grad_norm_(self.subject.model.parameters(), self.options.grad_clip)
        self.optimiser.step()
        self.schedule.step()
        return loss.item()


def train(options: Namespace, build: Build) -> None:
    """Train, and keep the epoch with the best rsum on dev.

    Raises:
        FileNotFoundError: The data has not been made.
        ValueError: A batch is larger than the training split.
    """
    torch.manual_seed(options.seed)
    shuffling = torch.Generator().manual_seed(options.seed)
    training, dev = (
        read_split(options.data, name, pictures=options.pictures) for name in ("train", "dev")
    )
    if options.batch_size > training.pictures:
        raise ValueError(
            f"--batch-size {options.batch_size} is more than the {training.pictures} training "
            "pictures; choose a smaller one"
        )
    subject = build(options, training)
    for name, content in subject.files.items():
        write_text(options.output / name, content)
    training_ids, dev_ids = (
        [subject.token_ids(caption) for caption in split.captions] for split in (training, dev)
    )
    steps = options.epochs * batches_per_epoch(training.pictures, options.batch_size)
    learner = Learner(subject, options, steps)

    best_rsum = 0.0
    for epoch in range(1, options.epochs + 1):
        began, losses = time.monotonic(), []
        subject.model.train()
        for pictures, captions in shuffled_pairs(training.pictures, options.batch_size, shuffling):
            texts = padded([training_ids[row] for row in captions.tolist()])
            hardest = epoch > options.warm_up
            losses.append(learner.step(training.images[pictures], *texts, hardest=hardest))
        subject.model.eval()
        found = evaluate(subject.evaluated, dev, dev_ids)
        loss, seconds = sum(losses) / len(losses), time.monotonic() - began
        print(f"epoch {epoch}: loss {loss:.4f}, dev {found}, {seconds:.0f} s", flush=True)
        if found.rsum > best_rsum:
            best_rsum = found.rsum
            checkpoint = {"epoch": epoch, "best_rsum": best_rsum, **subject.published()}
            save_checkpoint(checkpoint, options.output / CHECKPOINT_NAME)


def save_checkpoint(checkpoint: dict[str, Any], path: Path) -> None:
    """Save atomically, with the same bytes whatever the file is called."""
    # Given a path, torch.save writes the file's name into the file.
    buffer = io.BytesIO()
    torch.save(checkpoint, buffer)
    with replacing(path) as temporary:
        temporary.write_bytes(buffer.getvalue())


def training_options(options: Namespace) -> dict[str, Any]:
    """The training options that every published program saves."""
    return {
        "data_name": "shapes",
        "max_violation": True,
        "margin": options.margin,
        "num_epochs": options.epochs,
        "batch_size": options.batch_size,
        "learning_rate": options.learning_rate,
        "grad_clip": options.grad_clip,
    }


def report(score: Score, token_ids: TokenIds, options: Namespace) -> None:
    """Print a model's recall on a split, scored as the published program scores."""
    split = read_split(options.data, options.split, pictures=options.pictures)
    found = evaluate(score, split, [token_ids(caption) for caption in split.captions])
    print(f"{options.split}: {split.pictures} pictures, {len(split.captions)} captions: {found}")


def parser(name: str, description: str, **defaults: Any) -> argparse.ArgumentParser:
    """The parser for the options that all trainers share; ``name`` is the trainer's module."""
    made = argparse.ArgumentParser(
        prog=f"python -m examples.shapes.{name}",
        description=description,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = made.add_argument
    add("--data", type=Path, required=True, help="folder that make_data wrote")
    add("--output", type=Path, help="folder for the checkpoint")
    add("--loss", choices=("hinge", "contrastive"), default="hinge", help="see losses.py")
    add("--epochs", type=int, default=5, help="times round all captions")
    add("--warm-up", type=int, default=1, help="first epochs of hinge loss, all its hinges")
    add("--batch-size", type=int, default=32, help="pictures in a batch")
    add("--learning-rate", type=float, default=2e-3, help="the highest, early in the training")
    add("--margin", type=float, default=0.2, help="of a right pair over a wrong one")
    add("--grad-clip", type=float, default=2.0, help="highest norm of the gradient")
    add("--seed", type=int, default=0, help="of the first weights and the order of the batches")
    add("--threads", type=int, default=2, help="the result depends on them in its last digits")
    add("--evaluate", type=Path, metavar="CHECKPOINT", help="only print this checkpoint's recall")
    add("--split", default="test", choices=("train", "dev", "test"), help="split to evaluate on")
    made.set_defaults(pictures=False, **defaults)
    return made


def run(options: Namespace, work: Callable[[Namespace], None]) -> int:
    """Do the work with the number of threads in the options; returns the exit code."""
    torch.set_num_threads(options.threads)
    torch.use_deterministic_algorithms(True)
    try:
        work(options)
    except (OSError, ValueError, ItrDeployError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0
