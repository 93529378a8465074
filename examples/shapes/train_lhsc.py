"""Train LHSC on the shapes world, or evaluate a checkpoint of it.

The checkpoint has the published form, so that it is deployed in the same way as a published one.
"""

from __future__ import annotations

import sys
from argparse import Namespace
from typing import Any

from examples.shapes import training, words
from examples.shapes.dataset import Split
from examples.shapes.training import CHECKPOINTS, Subject
from itr_deploy.models.lhsc.checkpoint import PARTS, load
from itr_deploy.models.lhsc.config import LhscConfig
from itr_deploy.models.lhsc.plain import Lhsc

OUTPUT = CHECKPOINTS / "lhsc"


def build(options: Namespace, split: Split) -> Subject:
    """An LHSC with fresh weights."""
    config = LhscConfig(
        image_dim=split.images.shape[-1],
        embed_dim=options.embed_size,
        sim_dim=options.sim_dim,
        word_dim=options.word_dim,
        vocab_size=words.vocabulary_size(options),
    )
    model = Lhsc(config)
    return words.subject(model, options, model.score, lambda: published(model, options))


def published(model: Lhsc, options: Namespace) -> dict[str, Any]:
    """Weights and options as the published program saves them: a state dict for each part."""
    config = model.config
    opt = Namespace(
        img_dim=config.image_dim,
        word_dim=config.word_dim,
        embed_size=config.embed_dim,
        sim_dim=config.sim_dim,
        vocab_size=config.vocab_size,
        num_layers=config.num_layers,
        bi_gru=True,
        no_imgnorm=not config.image_norm,
        no_txtnorm=not config.text_norm,
        **training.training_options(options),
    )
    return {"model": [model.get_submodule(part).state_dict() for part in PARTS], "opt": opt}


def work(options: Namespace) -> None:
    """Train, or evaluate."""
    words.work(options, build, load)


def main(arguments: list[str] | None = None) -> int:
    """Train or evaluate; returns the exit code."""
    description = "Train LHSC on the shapes world, or evaluate a checkpoint of it."
    parser = training.parser(
        "train_lhsc", description, output=OUTPUT, loss="contrastive", epochs=4, threads=1
    )
    add = parser.add_argument
    add("--embed-size", type=int, default=64, help="width of the joint space")
    add("--sim-dim", type=int, default=48, help="width of a similarity vector")
    add("--word-dim", type=int, default=48, help="width of a word embedding")
    return training.run(parser.parse_args(arguments), work)


if __name__ == "__main__":
    sys.exit(main())
