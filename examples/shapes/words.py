"""What the trainers of models of words share: the vocabulary beside data and checkpoints."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from examples.shapes import training
from examples.shapes.make_data import VOCABULARY_NAME
from examples.shapes.training import Build, Score, Subject
from examples.shapes.vocabulary import read_vocabulary, token_ids
from itr_deploy.models.contract import TrainedMatcher


def vocabulary_size(options: Namespace) -> int:
    """Number of words of the data's vocabulary."""
    return len(read_vocabulary(options.data / VOCABULARY_NAME))


def subject(
    model: nn.Module, options: Namespace, score: Score, published: Callable[[], dict[str, Any]]
) -> Subject:
    """A model that reads the words of the data's vocabulary, and is evaluated as it is trained."""
    vocabulary: Path = options.data / VOCABULARY_NAME
    word2idx = read_vocabulary(vocabulary)
    return Subject(
        model=model,
        score=score,
        evaluated=score,
        token_ids=lambda caption: token_ids(caption, word2idx),
        published=published,
        files={VOCABULARY_NAME: vocabulary.read_text(encoding="utf-8")},
    )


def work(options: Namespace, build: Build, load: Callable[[Path], TrainedMatcher]) -> None:
    """Train what ``build`` makes, or evaluate the checkpoint that ``load`` reads."""
    if not options.evaluate:
        training.train(options, build)
        return
    word2idx = read_vocabulary(options.evaluate.parent / VOCABULARY_NAME)
    training.report(
        load(options.evaluate).plain.score,
        lambda caption: token_ids(caption, word2idx),
        options,
    )
