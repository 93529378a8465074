"""Reading a published DIME checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from itr_deploy.bundle.files import sha256_of
from itr_deploy.errors import CheckpointError, InputError, UsageError
from itr_deploy.models.checkpoints import (
    another_model,
    load_checkpoint,
    load_weights,
    option,
    state_dicts,
)
from itr_deploy.models.contract import PrunedFrom, TrainedMatcher
from itr_deploy.models.dime.bert import BertSizes
from itr_deploy.models.dime.config import DimeConfig
from itr_deploy.models.dime.deployed import DimeDeployment
from itr_deploy.models.dime.plain import Dime
from itr_deploy.models.dime.profile import RouteProfile
from itr_deploy.models.dime.pruning import pruned, pruning_record

PARTS = ("image", "text", "interaction")
"""The state dicts of a checkpoint, in its order, by their names in `Dime`."""

UNUSED = ("path_mapping.", "bert.pooler.", "bert.embeddings.position_ids")
"""Beginnings of keys that no score depends on: a loss of the training, BERT's pooling layer, and a
row of numbers that old versions of BERT's program saved."""

GATES = ("no", "yes")


def load(
    checkpoint: Path,
    *,
    bert_config: str = "",
    gates: str = "no",
    prune_routes: str = "",
    threshold: float = 0.0,
    profiled_data: str = "",
) -> TrainedMatcher:
    """Read a published DIME checkpoint; its options say which direction it is.

    Args:
        checkpoint: A ``model_best.pth.tar`` of the published program.
        bert_config: Text of the ``bert_config.json`` of its training; bert-base-uncased's sizes
            without it.
        gates: ``"yes"`` for matcher graphs that give the gates of every pair.
        prune_routes: Text of a route profile of this checkpoint: what it says is unused is left
            out.
        threshold: See `RouteProfile.keeping`.
        profiled_data: Where the profile's data is, if not where the profile says.

    Raises:
        CheckpointError: It is not a DIME checkpoint, has options with no defined score, or its BERT
            is not the one that ``bert_config`` describes.
        InputError: ``prune_routes`` is not a route profile, or that of another checkpoint.
        UsageError: ``gates`` is unknown, ``threshold`` is not from 0 to below 1, or an option
            about pruning is there without a profile.
    """
    if gates not in GATES:
        raise UsageError(f"gates={gates!r} is unknown; known: {', '.join(GATES)}")
    if not 0 <= threshold < 1:
        raise UsageError(f"threshold={threshold}: must be from 0 to below 1")
    content = load_checkpoint(checkpoint, expected=("model", "opt"))
    parts = [
        {key.removeprefix("module."): value for key, value in state.items()}
        for state in state_dicts(
            content["model"], count=len(PARTS), source=checkpoint, family="DIME"
        )
    ]
    if "dynamic_itr_l0.ric.router.mlp.0.weight" not in parts[2]:
        raise CheckpointError(
            f"{checkpoint}: not a DIME checkpoint: its third state dict has no "
            f"dynamic_itr_l0.ric.router.mlp.0.weight, it starts with "
            f"{next(iter(parts[2]), 'nothing')!r}; {another_model(content['model'])}"
        )
    profile = _profile(prune_routes, threshold, profiled_data, checkpoint)
    opt = content["opt"]
    config = _config(opt, _bert(parts[1], bert_config, checkpoint), checkpoint)
    model = Dime(config)
    for name, weights in zip(PARTS, parts, strict=True):
        used = {key: value for key, value in weights.items() if not key.startswith(UNUSED)}
        module = model.get_submodule(name)
        load_weights(module, used, source=checkpoint, family=f"DIME's {name} part")
    pruned_from = None
    if profile is not None:
        unpruned = DimeDeployment(model).eval()
        model = pruned(model, profile.keeping(threshold))
        data = profiled_data or profile.data
        pruning = pruning_record(model.routes, profile, threshold)
        pruned_from = PrunedFrom(unpruned, pruning, Path(data) if data else None)
        # A bundle tells nobody where its maker keeps data.
        prune_routes = profile.model_copy(update={"data": None}).model_dump_json()
    return TrainedMatcher(
        plain=model.eval(),
        deployed=DimeDeployment(model, gates == "yes").eval(),
        image_dim=config.image_dim,
        vocab_size=config.bert.vocab_size,
        options={
            **config.scalars(),
            "bert_config": bert_config,
            "gates": gates,
            "prune_routes": prune_routes,
            "threshold": threshold,
        },
        text_options={
            "lower_case": option(opt, "do_lower_case", bool, source=checkpoint, default=True)
        },
        pruned_from=pruned_from,
    )


def _profile(text: str, threshold: float, data: str, checkpoint: Path) -> RouteProfile | None:
    """The route profile to prune by, if one is given."""
    if not text:
        if threshold or data:
            name = "--threshold" if threshold else "--profiled-data"
            raise UsageError(f"{name} is about a route profile; give one (--prune-routes)")
        return None
    profile = RouteProfile.parse(text)
    own = sha256_of(checkpoint)
    if profile.evidence.checkpoint_sha256 != own:
        raise InputError(
            f"the route profile is of another checkpoint (sha256 "
            f"{profile.evidence.checkpoint_sha256[:12]}) than {checkpoint} ({own[:12]}); "
            "profile a bundle of this one"
        )
    return profile


def _bert(weights: Mapping[str, Tensor], config: str, source: Path) -> BertSizes:
    """BERT's sizes, from its config or bert-base-uncased's, as its weights have them."""
    sizes = BertSizes.from_json(config) if config else BertSizes()
    prefix = "bert."
    own = {key.removeprefix(prefix): w for key, w in weights.items() if key.startswith(prefix)}
    sizes.check(own, source=source)
    return sizes


def _config(opt: Any, bert: BertSizes, source: Path) -> DimeConfig:
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
        bert=bert,
    )
