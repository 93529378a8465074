"""Reading a published CAMERA checkpoint."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from itr_deploy.errors import CheckpointError
from itr_deploy.models import bert
from itr_deploy.models.bert import BertSizes
from itr_deploy.models.camera.config import CameraConfig
from itr_deploy.models.camera.deployed import CameraDeployment
from itr_deploy.models.camera.options import MARK, CameraOptions
from itr_deploy.models.camera.plain import Camera
from itr_deploy.models.checkpoints import (
    another_model,
    build_loaded,
    load_checkpoint,
    option,
    state_dicts,
)
from itr_deploy.models.contract import TrainedMatcher

PARTS = ("image", "text")
"""The state dicts of a checkpoint, in its order, by their names in `Camera`."""

MOST_VIEWS = 1000
"""Views of an image; the paper has 12."""

log = logging.getLogger(__name__)


def load(checkpoint: Path, options: CameraOptions | None = None) -> TrainedMatcher:
    """Read a published CAMERA checkpoint and make its exported form.

    Args:
        checkpoint: A ``model_best.pth.tar`` of the published program.
        options: Options of its export; by default all at their defaults.

    Raises:
        CheckpointError: As `read_model`.
    """
    options = options or CameraOptions()
    config, model = read_model(checkpoint, options.bert_config)
    return TrainedMatcher(
        plain=model,
        deployed=CameraDeployment(model).eval(),
        image_dim=config.image_dim,
        vocab_size=config.bert.vocab_size,
        options={**config.scalars(), **options.model_dump()},
        # Google's first tokeniser, which sets no spaces around them.
        text_options={"lower_case": config.lower_case, "ideographs": "joined"},
    )


def read_model(checkpoint: Path, bert_config: str = "") -> tuple[CameraConfig, Camera]:
    """Read a published CAMERA checkpoint; warns of a BERT that was never trained.

    Args:
        checkpoint: A ``model_best.pth.tar`` of the published program.
        bert_config: The text of the ``bert_config.json`` of its BERT; without it
            bert-base-uncased's sizes. Files that the checkpoint's options name are not opened.

    Raises:
        CheckpointError: The file is not a CAMERA checkpoint, lacks a weight, has options with no
            defined score, or its BERT is not the one that ``bert_config`` describes.
    """
    content = load_checkpoint(checkpoint, expected=("model", "opt"))
    image, text = state_dicts(
        content["model"], count=len(PARTS), source=checkpoint, family="CAMERA"
    )
    if MARK.weight not in image:
        raise CheckpointError(
            f"{checkpoint}: not a CAMERA checkpoint: its first state dict has no {MARK.weight}, it "
            f"starts with {next(iter(image), 'nothing')!r}; {another_model(content['model'])}"
        )
    sizes = bert.checked_sizes(text, bert_config, source=checkpoint)
    config = _config(content["opt"], image, sizes, checkpoint)
    used = {
        "image": image,
        "text": {key: weight for key, weight in text.items() if not key.startswith(bert.UNUSED)},
    }
    model = build_loaded(lambda: Camera(config), used, source=checkpoint, family="CAMERA")
    if bert.looks_untrained(text):
        log.warning(
            "%s: its BERT looks as if it had never been trained; CAMERA does not train it either, "
            "so that its scores mean little: train it again from bert-base-uncased",
            checkpoint,
        )
    return config, model.eval()


def _config(opt: Any, image: Mapping[str, Tensor], sizes: BertSizes, source: Path) -> CameraConfig:
    def get(name: str, kind: type, default: Any = None, **range_of: int) -> Any:
        return option(opt, name, kind, source=source, default=default, **range_of)

    def shown(key: str, axis: int) -> int | None:
        """What the weights show; None where `load_weights` will say what is missing."""
        weight = image.get(key)
        return int(weight.shape[axis]) if weight is not None and weight.ndim > axis else None

    embed_dim = get("embed_size", int, shown("fc.weight", 0))
    part = shown("agsa.att_layers.0.fc_q.weight", 0)
    return CameraConfig(
        image_dim=get("img_dim", int, shown("fc.weight", 1)),
        embed_dim=embed_dim,
        heads=get("head", int, embed_dim // part if part else None),
        views=get("smry_k", int, shown("mvs.convs_fc.weight", 0), most=MOST_VIEWS),
        max_words=get("max_words", int),
        lower_case=get("do_lower_case", bool, True),
        bert=sizes,
    )
