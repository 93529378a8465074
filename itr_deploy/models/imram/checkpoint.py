"""Reading a published IMRAM checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from itr_deploy.errors import CheckpointError
from itr_deploy.models.checkpoints import (
    build_loaded,
    load_checkpoint,
    option,
    state_dict,
    without_weight_norm,
)
from itr_deploy.models.contract import TrainedMatcher
from itr_deploy.models.imram.config import ImramConfig
from itr_deploy.models.imram.deployed import ImramDeployment
from itr_deploy.models.imram.options import MARK, ImramOptions
from itr_deploy.models.imram.plain import Imram

MOST_LAYERS, MOST_STEPS = 16, 100
"""Bounds of what is built or exported once each; the paper has 1 layer and up to 3 steps."""


def load(checkpoint: Path, options: ImramOptions | None = None) -> TrainedMatcher:
    """Read a published IMRAM checkpoint.

    Args:
        checkpoint: A ``model_best.pth.tar`` of the published program.
        options: Options of its export; by default all at their defaults.

    Raises:
        CheckpointError: The file is not an IMRAM checkpoint, or has options with no defined score.
    """
    options = options or ImramOptions()
    content = load_checkpoint(checkpoint, expected=("model", "opt"))
    weights = state_dict(content["model"], source=checkpoint)
    config = _config(content["opt"], weights, checkpoint)
    parts = {"": without_weight_norm(weights, "img_enc.fc_local")}
    model = build_loaded(lambda: Imram(config), parts, source=checkpoint, family="IMRAM")
    return TrainedMatcher(
        plain=model.eval(),
        deployed=ImramDeployment(model, options.precompute, options.step_scores == "yes").eval(),
        image_dim=config.image_dim,
        vocab_size=config.vocab_size,
        options={**vars(config), **options.model_dump()},
    )


def _config(opt: Any, weights: Mapping[str, Tensor], source: Path) -> ImramConfig:
    def get(name: str, kind: type, default: Any = None, **range_of: int) -> Any:
        return option(opt, name, kind, source=source, default=default, **range_of)

    if MARK.weight not in weights:
        raise CheckpointError(
            f"{source}: not an IMRAM checkpoint: it has no {MARK.weight}; "
            f"it starts with {next(iter(weights), 'nothing')!r}"
        )
    if not get("bi_gru", bool, True):
        raise CheckpointError(
            f"{source}: bi_gru=False is not a published IMRAM; retrain with it on"
        )
    if get("precomp_enc_type", str, "basic") not in ("basic", "weight_norm"):
        raise CheckpointError(
            f"{source}: precomp_enc_type={opt.precomp_enc_type!r} is unknown; "
            "known: basic, weight_norm"
        )
    return ImramConfig(
        image_dim=get("img_dim", int),
        embed_dim=get("embed_size", int),
        word_dim=get("word_dim", int),
        vocab_size=get("vocab_size", int),
        num_layers=get("num_layers", int, 1, most=MOST_LAYERS),
        mode=get("model_mode", str),
        steps=get("iteration_step", int, most=MOST_STEPS),
        temperature=get("lambda_softmax", float),
        attention_norm=get("raw_feature_norm", str),
        memory_norm=not get("no_IMRAM_norm", bool, False),
        image_norm=not get("no_imgnorm", bool, False),
        text_norm=not get("no_txtnorm", bool, False),
    )
