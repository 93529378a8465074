"""Reading a published DIME checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from itr_deploy.bundle.files import sha256_of
from itr_deploy.errors import CheckpointError, InputError
from itr_deploy.models import bert
from itr_deploy.models.bert import BertSizes
from itr_deploy.models.checkpoints import (
    another_model,
    build_loaded,
    load_checkpoint,
    option,
    state_dicts,
)
from itr_deploy.models.contract import TrainedMatcher
from itr_deploy.models.dime.config import DimeConfig
from itr_deploy.models.dime.deployed import DimeDeployment
from itr_deploy.models.dime.options import MARK, DimeOptions
from itr_deploy.models.dime.plain import Dime
from itr_deploy.models.dime.pruning import prune

PARTS = ("image", "text", "interaction")
"""The state dicts of a checkpoint, in its order, by their names in `Dime`."""

UNUSED = ("path_mapping.", *bert.UNUSED)
"""Beginnings of keys that no score depends on; the first is a training loss."""


def load(checkpoint: Path, options: DimeOptions | None = None) -> TrainedMatcher:
    """Read a published DIME checkpoint; its options give the direction.

    Args:
        checkpoint: A ``model_best.pth.tar`` of the published program.
        options: Options of its export; by default all at their defaults.

    Raises:
        CheckpointError: The file is not a DIME checkpoint, has options with no defined score, or
            its BERT is not the one that ``bert_config`` describes.
        InputError: The profile in ``prune_routes`` belongs to another checkpoint.
    """
    options = options or DimeOptions()
    content = load_checkpoint(checkpoint, expected=("model", "opt"))
    parts = state_dicts(content["model"], count=len(PARTS), source=checkpoint, family="DIME")
    if MARK.weight not in parts[2]:
        raise CheckpointError(
            f"{checkpoint}: not a DIME checkpoint: its third state dict has no "
            f"{MARK.weight}, it starts with {next(iter(parts[2]), 'nothing')!r}; "
            f"{another_model(content['model'])}"
        )
    _check_profile(options, checkpoint)
    opt = content["opt"]
    sizes = bert.checked_sizes(parts[1], options.bert_config, source=checkpoint)
    config = _config(opt, sizes, checkpoint)
    used = {
        name: {key: value for key, value in weights.items() if not key.startswith(UNUSED)}
        for name, weights in zip(PARTS, parts, strict=True)
    }
    model = build_loaded(lambda: Dime(config), used, source=checkpoint, family="DIME")
    model, changed_from = prune(model, options)
    return TrainedMatcher(
        plain=model.eval(),
        deployed=DimeDeployment(model, options.gates == "yes").eval(),
        image_dim=config.image_dim,
        vocab_size=config.bert.vocab_size,
        options={
            **config.scalars(),
            **options.model_dump(),
            "prune_routes": options.anonymous_profile,
        },
        text_options={
            "lower_case": option(opt, "do_lower_case", bool, source=checkpoint, default=True)
        },
        changed_from=changed_from,
    )


def _check_profile(options: DimeOptions, checkpoint: Path) -> None:
    """Refuse the route profile of another checkpoint."""
    profile, own = options.profile, sha256_of(checkpoint)
    if profile is not None and profile.evidence.checkpoint_sha256 != own:
        raise InputError(
            f"the route profile is of another checkpoint (sha256 "
            f"{profile.evidence.checkpoint_sha256[:12]}) than {checkpoint} ({own[:12]}); "
            "profile a bundle of this one"
        )


def _config(opt: Any, sizes: BertSizes, source: Path) -> DimeConfig:
    def get(name: str, kind: type, default: Any = None) -> Any:
        return option(opt, name, kind, source=source, default=default)

    return DimeConfig(
        direction=get("direction", str),
        image_dim=get("img_dim", int),
        embed_dim=get("embed_size", int),
        max_words=get("max_words", int),
        heads=get("num_head_IMRC", int),
        hidden=get("hid_IMRC", int),
        router_hidden=get("hid_router", int),
        temperature=get("lambda_softmax_CMRC", float),
        attention_norm=get("raw_feature_norm_CMRC", str),
        image_norm=not get("no_imgnorm", bool, False),
        image_abs=get("use_abs", bool, False),
        bert=sizes,
    )
