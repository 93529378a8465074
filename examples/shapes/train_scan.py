"""Train SCAN on the shapes world, or evaluate a checkpoint of it.

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
from itr_deploy.models.scan.checkpoint import PARTS, load
from itr_deploy.models.scan.config import AGGREGATIONS, DIRECTIONS, ScanConfig
from itr_deploy.models.scan.deployed import ScanDeployment
from itr_deploy.models.scan.plain import Scan

OUTPUT = CHECKPOINTS / "scan"


def score_batch(model: ScanDeployment, regions: Tensor, ids: Tensor, lengths: Tensor) -> Tensor:
    """The scores `[N, C]` of `Scan.score`, for all pairs at once and differentiable."""
    images = [tensor[None] for tensor in model.encode_images(regions)[:-1]]
    texts = [tensor[None] for tensor in model.encode_texts(ids, lengths)[:-1]]
    return model.match(texts, lengths[None], images)[0].T


def build(options: Namespace, split: Split) -> Subject:
    """A SCAN with fresh weights."""
    config = ScanConfig(
        image_dim=split.images.shape[-1],
        embed_dim=options.embed_size,
        word_dim=options.word_dim,
        vocab_size=words.vocabulary_size(options),
        direction=options.direction,
        aggregation=options.aggregation,
    )
    model = Scan(config)
    deployment = ScanDeployment(model)

    def score(regions: Tensor, ids: Tensor, lengths: Tensor) -> Tensor:
        return score_batch(deployment, regions, ids, lengths)

    return words.subject(model, options, score, lambda: published(model, options))


def published(model: Scan, options: Namespace) -> dict[str, Any]:
    """Weights and options as the published program saves them: a state dict for each part."""
    config = model.config
    opt = Namespace(
        img_dim=config.image_dim,
        embed_size=config.embed_dim,
        word_dim=config.word_dim,
        vocab_size=config.vocab_size,
        num_layers=config.num_layers,
        bi_gru=config.bidirectional,
        no_imgnorm=not config.image_norm,
        no_txtnorm=not config.text_norm,
        precomp_enc_type="basic",
        cross_attn=config.direction,
        agg_func=config.aggregation,
        raw_feature_norm=config.attention_norm,
        lambda_softmax=config.temperature,
        lambda_lse=config.sharpness,
        **training.training_options(options),
    )
    return {"model": [model.get_submodule(part).state_dict() for part in PARTS], "opt": opt}


def work(options: Namespace) -> None:
    """Train, or evaluate."""
    words.work(options, build, load)


def main(arguments: list[str] | None = None) -> int:
    """Train or evaluate; returns the exit code."""
    description = "Train SCAN on the shapes world, or evaluate a checkpoint of it."
    parser = training.parser("train_scan", description, output=OUTPUT, epochs=5, threads=1)
    add = parser.add_argument
    add("--direction", choices=DIRECTIONS, default="t2i", help="t2i: words attend to regions")
    add("--aggregation", choices=AGGREGATIONS, default="Mean", help="of the cosines of all words")
    add("--embed-size", type=int, default=96, help="width of the joint space")
    add("--word-dim", type=int, default=48, help="width of a word embedding")
    return training.run(parser.parse_args(arguments), work)


if __name__ == "__main__":
    sys.exit(main())
