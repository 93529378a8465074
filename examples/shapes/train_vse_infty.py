"""Train VSE-infinity on the shapes world, from regions or from pixels, or evaluate a checkpoint.

The checkpoint has the published form, so that it is deployed in the same way as a published one.
"""

from __future__ import annotations

import sys
from argparse import Namespace
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from examples.shapes import training, words
from examples.shapes.dataset import Split
from examples.shapes.training import CHECKPOINTS, Subject
from itr_deploy.models.contract import TrainedMatcher
from itr_deploy.models.vse_infty.checkpoint import COPIES, PARTS, load, read_model
from itr_deploy.models.vse_infty.config import PICTURE, Backbone, Stage, VseInftyConfig, Words
from itr_deploy.models.vse_infty.plain import OfPictures, VseInfty

OUTPUT, GRID_OUTPUT = CHECKPOINTS / "vse_infty", CHECKPOINTS / "vse_infty_grid"

_EXPANSION = 4  # a stage's channels are its planes times this, as in the published networks


def build(options: Namespace, split: Split) -> Subject:
    """A VSE-infinity with fresh weights; its words may be those of another one."""
    backbone = _backbone(options) if options.pictures else None
    config = VseInftyConfig(
        image_dim=backbone.stages[-1].channels if backbone else split.images.shape[-1],
        embed_dim=options.embed_size,
        # The published program appends <mask> to the words of its vocabulary file.
        text=Words(vocab_size=words.vocabulary_size(options) + 1, word_dim=options.word_dim),
        backbone=backbone,
    )
    model = VseInfty(config)
    if options.text_from:
        _, other = read_model(options.text_from)
        model.text.load_state_dict(other.text.state_dict())
    score = model.score if backbone is None else OfPictures(model, backbone).score
    return words.subject(model, options, score, lambda: published(model, options))


def _backbone(options: Namespace) -> Backbone:
    return Backbone(
        source="detector",
        picture_size=int(PICTURE * options.input_scale_factor),
        stem=options.planes[0],
        stages=tuple(Stage(1, planes, _EXPANSION * planes) for planes in options.planes),
    )


def published(model: VseInfty, options: Namespace) -> dict[str, Any]:
    """Weights and options as the published program saves them: a state dict for each part."""
    config = model.config
    assert isinstance(config.text, Words)
    opt = Namespace(
        img_dim=config.image_dim,
        embed_size=config.embed_dim,
        word_dim=config.text.word_dim,
        num_layers=config.text.num_layers,
        vocab_size=config.text.vocab_size,
        precomp_enc_type="backbone" if config.backbone else "basic",
        no_imgnorm=not config.image_norm,
        no_txtnorm=not config.text_norm,
        **training.training_options(options),
    )
    if config.backbone:
        opt.backbone_source = config.backbone.source
        opt.input_scale_factor = options.input_scale_factor
    image, text = (dict(model.get_submodule(part).state_dict()) for part in PARTS)
    if not config.backbone:
        return {"model": [image | _unused_norm(config.embed_dim), text], "opt": opt}
    weights = [
        {f"module.{key}": value for key, value in part.items()}
        for part in (image | _copies(image), text)
    ]
    return {"model": weights, "opt": opt}


def _unused_norm(width: int) -> dict[str, Tensor]:
    """The batch normalisation that the published program makes and never applies."""
    return {f"mlp.bns.1.{key}": value for key, value in nn.BatchNorm1d(width).state_dict().items()}


def _copies(image: dict[str, Tensor]) -> dict[str, Tensor]:
    """The network's weights by their other names; a file stores each of them once."""
    return {
        f"backbone.{copy}{key.removeprefix(f'backbone.{name}')}": value
        for copy, name in COPIES.items()
        for key, value in image.items()
        if key.startswith(f"backbone.{name}.")
    }


def work(options: Namespace) -> None:
    """Train, or evaluate."""
    if options.output is None:
        options.output = GRID_OUTPUT if options.pictures else OUTPUT
    words.work(options, build, partial(_loaded, options))


def _loaded(options: Namespace, checkpoint: Path) -> TrainedMatcher:
    """A checkpoint's model; pictures are read if it starts from pixels."""
    trained = load(checkpoint)
    options.pictures = isinstance(trained.plain, OfPictures)
    return trained


def main(arguments: list[str] | None = None) -> int:
    """Train or evaluate; returns the exit code."""
    description = "Train VSE-infinity on the shapes world, or evaluate a checkpoint of it."
    parser = training.parser(
        "train_vse_infty", description, batch_size=64, learning_rate=4e-3, epochs=6, threads=1
    )
    add = parser.add_argument
    add("--embed-size", type=int, default=128, help="width of the joint space")
    add("--word-dim", type=int, default=48, help="width of a word embedding")
    add("--pictures", action="store_true", help="start from pixels instead of regions")
    add(
        "--planes", type=int, nargs=4, default=[16, 24, 32, 64],
        help="a quarter of the channels of each of the network's stages",
    )  # fmt: skip
    add("--input-scale-factor", type=float, default=0.375, help="pictures are resized to 256 times")
    add("--text-from", type=training.Path, help="checkpoint whose text part to start with")
    return training.run(parser.parse_args(arguments), work)


if __name__ == "__main__":
    sys.exit(main())
