"""Reading a published VSE-infinity checkpoint, of either branch and any kind of image input."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from itr_deploy.errors import CheckpointError
from itr_deploy.models import bert
from itr_deploy.models.checkpoints import (
    another_model,
    build_loaded,
    load_checkpoint,
    option,
    state_dicts,
)
from itr_deploy.models.contract import TrainedMatcher
from itr_deploy.models.vse_infty.config import PICTURE, Backbone, Stage, VseInftyConfig, Words
from itr_deploy.models.vse_infty.deployed import VseInftyDeployment
from itr_deploy.models.vse_infty.options import MARK, VseInftyOptions
from itr_deploy.models.vse_infty.plain import OfPictures, VseInfty

PARTS = ("image", "text")
"""The state dicts of a checkpoint, in its order, by their names in `VseInfty`."""

UNUSED = ("mlp.bns.1.", "backbone.resnet.fc.", *bert.UNUSED)
"""Beginnings of keys that no score depends on: a batch normalisation that is never applied, the
network's classifier, and BERT's own."""

BACKBONE = "backbone."
STAGES = ("base.4", "base.5", "base.6", "top.0")
COPIES = {
    "resnet.conv1": "base.0",
    "resnet.bn1": "base.1",
    **{f"resnet.layer{number}": stage for number, stage in enumerate(STAGES, 1)},
}
"""The network's weights are in a checkpoint twice; by which names."""

MOST_LAYERS, MOST_BLOCKS = 16, 100
"""Bounds of what is built once each; published models have 1 and up to 36."""


APPENDED = "<mask>"
"""The word that the program appends to those of its vocabulary file."""


def load(checkpoint: Path, options: VseInftyOptions | None = None) -> TrainedMatcher:
    """Read a published VSE-infinity checkpoint and make its exported form.

    Args:
        checkpoint: A ``model_best.pth`` of the published program.
        options: Options of its export; by default all at their defaults.

    Raises:
        CheckpointError: As `read_model`.
    """
    options = options or VseInftyOptions()
    config, model = read_model(checkpoint, options.bert_config)
    words = isinstance(config.text, Words)
    return TrainedMatcher(
        plain=model if config.backbone is None else OfPictures(model, config.backbone),
        deployed=VseInftyDeployment(model).eval(),
        image_dim=config.image_dim,
        vocab_size=config.vocab_size,
        options={**config.scalars(), **options.model_dump()},
        text="nltk_words" if words else "wordpiece",
        text_options={"appended": APPENDED} if words else {"lower_case": True},
    )


def read_model(checkpoint: Path, bert_config: str = "") -> tuple[VseInftyConfig, VseInfty]:
    """Read a published VSE-infinity checkpoint.

    Args:
        checkpoint: A ``model_best.pth`` of the published program.
        bert_config: The text of the ``bert_config.json`` of its BERT, if it has one; without it
            bert-base-uncased's sizes.

    Raises:
        CheckpointError: The file is not a VSE-infinity checkpoint, lacks a weight, has options with
            no defined score, or its BERT is not the one that ``bert_config`` describes.
    """
    content = load_checkpoint(checkpoint, expected=("model", "opt"))
    image, text = state_dicts(
        content["model"], count=len(PARTS), source=checkpoint, family="VSE-infinity"
    )
    if MARK.weight not in text:
        raise CheckpointError(
            f"{checkpoint}: not a VSE-infinity checkpoint: its second state dict has no "
            f"{MARK.weight}, it starts with {next(iter(text), 'nothing')!r}; "
            f"{another_model(content['model'])}"
        )
    image = _once(image, checkpoint)
    config = _Options(content["opt"], checkpoint).config(image, text, bert_config)
    used = {
        name: {key: weight for key, weight in weights.items() if not key.startswith(UNUSED)}
        for name, weights in zip(PARTS, (image, text), strict=True)
    }
    model = build_loaded(lambda: VseInfty(config), used, source=checkpoint, family="VSE-infinity")
    return config, model.eval()


def _once(image: Mapping[str, Tensor], source: Path) -> dict[str, Tensor]:
    """The image part with each of the network's weights once, by the names of `ResidualNetwork`.

    Raises:
        CheckpointError: A weight's two copies differ.
    """
    copies = f"{BACKBONE}resnet."
    once = {key: weight for key, weight in image.items() if not key.startswith(copies)}
    for key in image.keys() - once.keys():
        name = _other_name(key)
        if not torch.equal(once.setdefault(name, image[key]), image[key]):
            raise CheckpointError(
                f"{source}: {key} and {name} are the same weight in the published program, but "
                "differ here; save the model's state dict anew"
            )
    return once


def _other_name(key: str) -> str:
    own = key.removeprefix(BACKBONE)
    for copy, name in COPIES.items():
        if own.startswith(f"{copy}."):
            return f"{BACKBONE}{name}{own.removeprefix(copy)}"
    return key


class _Options:
    """The options of a checkpoint, with what its weights say where it has none."""

    def __init__(self, opt: Any, source: Path) -> None:
        self._opt, self._source = opt, source

    def config(
        self, image: Mapping[str, Tensor], text: Mapping[str, Tensor], bert_config: str
    ) -> VseInftyConfig:
        """What the model is built by."""
        reads_pictures = any(key.startswith(BACKBONE) for key in image)
        self._check_images(reads_pictures)
        linear = "image_encoder.fc.weight" if reads_pictures else "fc.weight"
        embed_dim, image_dim = self._shape(image, linear, 2)
        return VseInftyConfig(
            image_dim=self._get("img_dim", int, image_dim),
            embed_dim=self._get("embed_size", int, embed_dim),
            text=self._text(text, bert_config),
            backbone=self._backbone(image) if reads_pictures else None,
            image_norm=not self._get("no_imgnorm", bool, False),
            text_norm=not self._get("no_txtnorm", bool, False),
        )

    def _check_images(self, reads_pictures: bool) -> None:
        found = "backbone" if reads_pictures else "basic"
        named = self._get("precomp_enc_type", str, found)
        if named not in ("basic", "backbone"):
            raise CheckpointError(
                f"{self._source}: precomp_enc_type={named!a:.60} is unknown; known: basic, backbone"
            )
        if named != found:
            has = "has" if reads_pictures else "has no"
            raise CheckpointError(
                f"{self._source}: precomp_enc_type={named!r}, but its image part {has} backbone.*; "
                "save it with the options of its training"
            )

    def _text(self, weights: Mapping[str, Tensor], bert_config: str) -> bert.BertSizes | Words:
        kinds = [
            prefix
            for prefix in (bert.PREFIX, "rnn.")
            if any(key.startswith(prefix) for key in weights)
        ]
        if len(kinds) != 1:
            found = "both" if kinds else "neither"
            raise CheckpointError(
                f"{self._source}: its text part has {found} of bert.* and rnn.*; it should have one"
            )
        if kinds == [bert.PREFIX]:
            return bert.checked_sizes(weights, bert_config, source=self._source)
        if bert_config:
            raise CheckpointError(
                f"{self._source}: its texts are read by a BiGRU, and bert_config= (--bert-config) "
                "is of a BERT; leave it out, or give the checkpoint that it belongs to"
            )
        rows, width = self._shape(weights, "embed.weight", 2)
        layers = len([key for key in weights if re.fullmatch(r"rnn\.weight_ih_l\d+", key)])
        return Words(
            vocab_size=self._get("vocab_size", int, rows),
            word_dim=self._get("word_dim", int, width),
            num_layers=self._get("num_layers", int, layers, most=MOST_LAYERS),
        )

    def _backbone(self, weights: Mapping[str, Tensor]) -> Backbone:
        factor = self._get("input_scale_factor", float, 1.0)
        stem = self._shape(weights, f"{BACKBONE}base.0.weight", 4)[0]
        return Backbone(
            source=self._get("backbone_source", str, "detector"),
            picture_size=int(PICTURE * factor),
            stem=stem,
            stages=tuple(self._stage(weights, f"{BACKBONE}{name}") for name in STAGES),
        )

    def _stage(self, weights: Mapping[str, Tensor], name: str) -> Stage:
        own = [key.removeprefix(f"{name}.") for key in weights if key.startswith(f"{name}.")]
        blocks = len({key.partition(".")[0] for key in own})
        if not 1 <= blocks <= MOST_BLOCKS:
            raise CheckpointError(
                f"{self._source}: {name} has {blocks} blocks; 1 to {MOST_BLOCKS} are possible"
            )
        width, inner, _, _ = self._shape(weights, f"{name}.0.conv2.weight", 4)
        channels = self._shape(weights, f"{name}.0.conv3.weight", 4)[0]
        if not inner or width % inner:
            raise CheckpointError(
                f"{self._source}: {name}.0.conv2.weight has {width} channels, not a multiple of "
                f"its groups' {inner}"
            )
        return Stage(blocks, width, channels, width // inner)

    def _shape(self, weights: Mapping[str, Tensor], key: str, axes: int) -> tuple[int, ...]:
        if key not in weights:
            raise CheckpointError(
                f"{self._source}: not the weights of a VSE-infinity: missing [{key!r}]"
            )
        shape = tuple(weights[key].shape)
        if len(shape) != axes:
            raise CheckpointError(f"{self._source}: {key} has {len(shape)} axes, expected {axes}")
        return shape

    def _get(self, name: str, kind: type, default: Any = None, **range_of: int) -> Any:
        return option(self._opt, name, kind, source=self._source, default=default, **range_of)
