"""Reading a published SGRAF checkpoint, of the module SAF or SGR."""

from __future__ import annotations

from collections.abc import Mapping
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
from itr_deploy.models.sgraf.config import MODULES, PUBLISHED_REGIONS, SgrafConfig
from itr_deploy.models.sgraf.deployed import SgrafDeployment
from itr_deploy.models.sgraf.options import MARK
from itr_deploy.models.sgraf.plain import Sgraf

PARTS = ("image", "text", "similarity")
"""The state dicts of a checkpoint, in its order, by their names in `Sgraf`."""

REGION_NORM = "v_global_w.embedding_local.1.weight"
"""The weight whose length is the number of regions."""

MOST_LAYERS = 16
"""Layers of the GRU; the paper has 1."""


def load(checkpoint: Path, _: FamilyOptions | None = None) -> TrainedMatcher:
    """Read a published SGRAF checkpoint.

    Args:
        checkpoint: A ``model_best.pth.tar`` of the published program.

    Raises:
        CheckpointError: The file is not an SGRAF checkpoint, or has options with no defined score.
    """
    content = load_checkpoint(checkpoint, expected=("model", "opt"))
    parts = state_dicts(content["model"], count=len(PARTS), source=checkpoint, family="SGRAF")
    module = getattr(content["opt"], "module_name", None)
    if module is not None and module not in MODULES:
        raise CheckpointError(
            f"{checkpoint}: module_name={module!r} has no score: SGRAF's modules are "
            f"{' and '.join(MODULES)}; train with one of them"
        )
    if not MARK.is_among(parts[2]):
        raise CheckpointError(
            f"{checkpoint}: not an SGRAF checkpoint: its third state dict has neither "
            f"{' nor '.join((MARK.weight, *MARK.others))}, it starts with "
            f"{next(iter(parts[2]), 'nothing')!r}; {another_model(content['model'])}"
        )
    config = _config(content["opt"], parts[2], checkpoint)
    named = dict(zip(PARTS, parts, strict=True))
    model = build_loaded(lambda: Sgraf(config), named, source=checkpoint, family="SGRAF")
    return TrainedMatcher(
        plain=model.eval(),
        deployed=SgrafDeployment(model).eval(),
        image_dim=config.image_dim,
        vocab_size=config.vocab_size,
        options=vars(config),
        text_options={"ascii_case": True},
    )


def _config(opt: Any, weights: Mapping[str, Tensor], source: Path) -> SgrafConfig:
    def get(name: str, kind: type, **range_of: int) -> Any:
        return option(opt, name, kind, source=source, **range_of)

    module = get("module_name", str)
    (found,) = [name for name in MODULES if _keys_of(name, weights)][:1]
    if module != found:
        raise CheckpointError(
            f"{source}: module_name={module!r}, but its weights are those of {found}_module; give "
            "the checkpoint as it was saved in training"
        )
    region_norm = weights.get(REGION_NORM)
    return SgrafConfig(
        image_dim=get("img_dim", int),
        embed_dim=get("embed_size", int),
        sim_dim=get("sim_dim", int),
        word_dim=get("word_dim", int),
        vocab_size=get("vocab_size", int),
        module=module,
        steps=_steps(get("sgr_step", int), weights, source) if module == "SGR" else 0,
        # Without the weight, the model is built all the same and the weight named as missing.
        regions=PUBLISHED_REGIONS if region_norm is None else region_norm.numel(),
        num_layers=get("num_layers", int, most=MOST_LAYERS),
        bidirectional=get("bi_gru", bool),
        image_norm=not get("no_imgnorm", bool),
        text_norm=not get("no_txtnorm", bool),
    )


def _steps(wanted: int, weights: Mapping[str, Tensor], source: Path) -> int:
    """The number of SGR's steps.

    Raises:
        CheckpointError: The weights have another number.
    """
    found = len({key.split(".")[1] for key in _keys_of("SGR", weights)})
    if wanted != found:
        raise CheckpointError(
            f"{source}: sgr_step={wanted}, but its weights have {found} steps; give the checkpoint "
            "as it was saved in training"
        )
    return wanted


def _keys_of(module: str, weights: Mapping[str, Tensor]) -> list[str]:
    return [key for key in weights if key.startswith(f"{module}_module.")]
