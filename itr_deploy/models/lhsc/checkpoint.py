"""Reading a published LHSC checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from itr_deploy.errors import CheckpointError
from itr_deploy.models.checkpoints import (
    another_model,
    build_loaded,
    load_checkpoint,
    option,
    state_dicts,
)
from itr_deploy.models.contract import TrainedMatcher
from itr_deploy.models.lhsc.config import LhscConfig
from itr_deploy.models.lhsc.deployed import LhscDeployment
from itr_deploy.models.lhsc.options import MARK, LhscOptions, TextPadding
from itr_deploy.models.lhsc.plain import Lhsc

PARTS = ("image", "text", "similarity")
"""The state dicts of a checkpoint, in its order, by their names in `Lhsc`."""

MOST_LAYERS = 16
"""Layers of the GRU; the paper has 1."""


def load(checkpoint: Path, options: LhscOptions | None = None) -> TrainedMatcher:
    """Read a published LHSC checkpoint.

    Args:
        checkpoint: A ``model_best.pth.tar`` of the published program.
        options: Options of its export; by default all at their defaults.

    Raises:
        CheckpointError: The file is not an LHSC checkpoint.
    """
    options = options or LhscOptions()
    content = load_checkpoint(checkpoint, expected=("model", "opt"))
    parts = state_dicts(content["model"], count=len(PARTS), source=checkpoint, family="LHSC")
    if MARK.weight not in parts[0]:
        raise CheckpointError(
            f"{checkpoint}: not an LHSC checkpoint: its first state dict has no "
            f"{MARK.weight}, it starts with {next(iter(parts[0]), 'nothing')!r}; "
            f"{another_model(content['model'])}"
        )
    config = _config(content["opt"], options.text_padding, checkpoint)
    named = dict(zip(PARTS, parts, strict=True))
    model = build_loaded(lambda: Lhsc(config), named, source=checkpoint, family="LHSC")
    return TrainedMatcher(
        plain=model.eval(),
        deployed=LhscDeployment(model).eval(),
        image_dim=config.image_dim,
        vocab_size=config.vocab_size,
        options=vars(config),
    )


def _config(opt: Any, text_padding: TextPadding, source: Path) -> LhscConfig:
    def get(name: str, kind: type, default: Any = None, **range_of: int) -> Any:
        return option(opt, name, kind, source=source, default=default, **range_of)

    if not get("bi_gru", bool, True):
        raise CheckpointError(f"{source}: bi_gru=False is not a published LHSC; retrain with it on")
    return LhscConfig(
        image_dim=get("img_dim", int),
        embed_dim=get("embed_size", int),
        sim_dim=get("sim_dim", int),
        word_dim=get("word_dim", int),
        vocab_size=get("vocab_size", int),
        num_layers=get("num_layers", int, 1, most=MOST_LAYERS),
        image_norm=not get("no_imgnorm", bool, False),
        text_norm=not get("no_txtnorm", bool, False),
        text_padding=text_padding,
    )
