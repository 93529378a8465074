"""Train IMRAM on the shapes world, or evaluate a checkpoint of it.

The checkpoint has the published form, so that it is deployed in the same way as a published one.
"""

from __future__ import annotations

import sys
from argparse import Namespace
from typing import Any

from torch import Tensor

from examples.shapes import training, words
from examples.shapes.dataset import Split
from examples.shapes.training import CHECKPOINTS, Subject
from itr_deploy.models.imram.checkpoint import load
from itr_deploy.models.imram.config import MODES, ImramConfig
from itr_deploy.models.imram.deployed import ImramDeployment
from itr_deploy.models.imram.plain import Imram

OUTPUT = CHECKPOINTS / "imram"


def score_batch(model: ImramDeployment, regions: Tensor, ids: Tensor, lengths: Tensor) -> Tensor:
    """The scores `[N, C]` of `Imram.score`, for all pairs at once and differentiable."""
    images = [tensor[None] for tensor in model.encode_images(regions)[:-1]]
    texts = [tensor[None] for tensor in model.encode_texts(ids, lengths)[:-1]]
    return model.match(texts, lengths[None], images)[0].T


def build(options: Namespace, split: Split) -> Subject:
    """An IMRAM with fresh weights."""
    config = ImramConfig(
        image_dim=split.images.shape[-1],
        embed_dim=options.embed_size,
        word_dim=options.word_dim,
        vocab_size=words.vocabulary_size(options),
        mode=options.mode,
    )
    model = Imram(config)
    deployment = ImramDeployment(model, "full")

    def score(regions: Tensor, ids: Tensor, lengths: Tensor) -> Tensor:
        return score_batch(deployment, regions, ids, lengths)

    return words.subject(model, options, score, lambda: published(model, options))


def published(model: Imram, options: Namespace) -> dict[str, Any]:
    """Weights and options as the published program saves them."""
    config = model.config
    opt = Namespace(
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
        **training.training_options(options),
    )
    weights = {f"module.{key}": value for key, value in model.state_dict().items()}
    return {"model": weights, "opt": opt}


def work(options: Namespace) -> None:
    """Train, or evaluate."""
    words.work(options, build, load)


def main(arguments: list[str] | None = None) -> int:
    """Train or evaluate; returns the exit code."""
    description = "Train IMRAM on the shapes world, or evaluate a checkpoint of it."
    parser = training.parser("train_imram", description, output=OUTPUT)
    add = parser.add_argument
    add("--mode", choices=MODES, default="full_IMRAM", help="which branches make the score")
    add("--embed-size", type=int, default=64, help="width of the joint space")
    add("--word-dim", type=int, default=48, help="width of a word embedding")
    return training.run(parser.parse_args(arguments), work)


if __name__ == "__main__":
    sys.exit(main())
