"""Reading a published VSRN checkpoint."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from itr_deploy.errors import CheckpointError
from itr_deploy.models.checkpoints import (
    another_model,
    build_loaded,
    load_checkpoint,
    option,
    state_dicts,
)
from itr_deploy.models.contract import TrainedMatcher
from itr_deploy.models.options import FamilyOptions
from itr_deploy.models.vsrn.config import FLICKR, VsrnConfig
from itr_deploy.models.vsrn.deployed import deployed_form
from itr_deploy.models.vsrn.options import MARK
from itr_deploy.models.vsrn.plain import ImageEncoder, Vsrn

PARTS = 2
"""State dicts of a checkpoint: images, then texts. Some forks save more."""

MOST_LAYERS = 16
"""Layers of the text's GRU; the paper has 1."""

log = logging.getLogger(__name__)


def load(checkpoint: Path, _: FamilyOptions | None = None) -> TrainedMatcher:
    """Read a published VSRN checkpoint and make its exported form.

    Args:
        checkpoint: A ``model_best.pth.tar`` of the published program.

    Raises:
        CheckpointError: As `read_model`.
    """
    config, model = read_model(checkpoint)
    return TrainedMatcher(
        plain=model,
        deployed=deployed_form(model).eval(),
        image_dim=config.image_dim,
        vocab_size=config.vocab_size,
        options=vars(config),
        text_options={"ascii_case": True},
    )


def read_model(checkpoint: Path) -> tuple[VsrnConfig, Vsrn]:
    """Read a published VSRN checkpoint; warns of what decides its architecture unexpectedly.

    Args:
        checkpoint: A ``model_best.pth.tar`` of the published program.

    Raises:
        CheckpointError: The file is not a VSRN checkpoint of region features, or has options with
            no defined score.
    """
    content = load_checkpoint(checkpoint, expected=("model", "opt"))
    model = content["model"]
    if isinstance(model, (list, tuple)):
        model = model[:PARTS]
    image, text = state_dicts(model, count=PARTS, source=checkpoint, family="VSRN")
    if MARK.weight not in image:
        raise CheckpointError(
            f"{checkpoint}: not a VSRN checkpoint: its first state dict has no {MARK.weight}, it "
            f"starts with {next(iter(image), 'nothing')!r}; {another_model(content['model'])}"
        )
    config = _config(content["opt"], image, checkpoint)
    parts = {"image": _used(image, config, checkpoint), "text": text}
    loaded = build_loaded(lambda: Vsrn(config), parts, source=checkpoint, family="VSRN")
    return config, loaded.eval()


def _used(image: Mapping[str, Tensor], config: VsrnConfig, source: Path) -> dict[str, Tensor]:
    """The image part without what the published program ignores, such as a fork's generator."""
    own = ImageEncoder(replace(config, image_dim=1, embed_dim=1)).state_dict().keys()
    extra = sorted(image.keys() - own)
    if extra:
        log.warning(
            "%s: %d weights of its image part take no part in a score and are left out: %s%s",
            source,
            len(extra),
            ", ".join(extra[:3]),
            ", ..." if len(extra) > 3 else "",
        )
    return {key: weight for key, weight in image.items() if key in own}


def _config(opt: Any, image: Mapping[str, Tensor], source: Path) -> VsrnConfig:
    def get(name: str, kind: type, default: Any = None, **range_of: int) -> Any:
        return option(opt, name, kind, source=source, default=default, **range_of)

    return VsrnConfig(
        image_dim=get("img_dim", int),
        embed_dim=get("embed_size", int),
        word_dim=get("word_dim", int),
        vocab_size=get("vocab_size", int),
        num_layers=get("num_layers", int, 1, most=MOST_LAYERS),
        architecture=_architecture(get("data_name", str), image, source),
        measure=get("measure", str, "cosine"),
        image_norm=not get("no_imgnorm", bool, False),
        absolute=get("use_abs", bool, False),
    )


def _architecture(data_name: str, image: Mapping[str, Tensor], source: Path) -> str:
    """Which of the two architectures the image part has.

    Raises:
        CheckpointError: It reads pictures, or its weights and its data name contradict each other.
    """
    if not data_name.endswith("_precomp"):
        raise CheckpointError(
            f"{source}: data_name={data_name!a:.60} is a VSRN that reads pictures, which is not "
            "supported; train it on region features, a data name that ends in _precomp"
        )
    normed = any(key.startswith("bn.") for key in image)
    if normed and data_name != FLICKR:
        raise CheckpointError(
            f"{source}: has bn.*, as only data_name='{FLICKR}' has it, but its data_name is "
            f"{data_name!a:.60}; save it with the data_name of its training, or without bn.*"
        )
    if data_name == FLICKR and not normed:
        log.warning(
            "%s: has no bn.*: it is taken for a checkpoint of the program before January 2020, "
            "which computed %s as it does COCO (regions normalised first, no batch normalisation "
            "at the end)",
            source,
            FLICKR,
        )
    return "f30k" if normed else "coco"
