"""Reading a published SCAN checkpoint."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from itr_deploy.errors import CheckpointError
from itr_deploy.models.checkpoints import (
    build_loaded,
    load_checkpoint,
    option,
    state_dicts,
    without_weight_norm,
)
from itr_deploy.models.contract import TrainedMatcher
from itr_deploy.models.options import FamilyOptions
from itr_deploy.models.scan.config import ScanConfig
from itr_deploy.models.scan.deployed import ScanDeployment
from itr_deploy.models.scan.options import MARK
from itr_deploy.models.scan.plain import Scan

PARTS = ("image", "text")
"""The state dicts of a checkpoint, in its order, by their names in `Scan`."""

IMAGE_KEYS = {
    "basic": ("fc.weight", "fc.bias"),
    "weight_norm": ("fc.weight_g", "fc.weight_v", "fc.bias"),
}
"""The image part's weights, by ``precomp_enc_type``."""

MOST_LAYERS = 16
"""Layers of the GRU; the paper has 1."""

log = logging.getLogger(__name__)


def load(checkpoint: Path, _: FamilyOptions | None = None) -> TrainedMatcher:
    """Read a published SCAN checkpoint.

    Args:
        checkpoint: A ``model_best.pth.tar`` of the published program.

    Raises:
        CheckpointError: The file is not a SCAN checkpoint, or has options with no defined score.
    """
    content = load_checkpoint(checkpoint, expected=("model", "opt"))
    image, text = state_dicts(content["model"], count=len(PARTS), source=checkpoint, family="SCAN")
    if MARK.weight not in text:
        raise CheckpointError(
            f"{checkpoint}: not a SCAN checkpoint: its second state dict has no {MARK.weight}, it "
            f"starts with {next(iter(text), 'nothing')!r}"
        )
    config = _config(content["opt"], checkpoint)
    kind = _encoder_kind(content["opt"], checkpoint)
    parts = {"image": _image_part(image, kind, checkpoint), "text": text}
    model = build_loaded(lambda: Scan(config), parts, source=checkpoint, family="SCAN")
    return TrainedMatcher(
        plain=model.eval(),
        deployed=ScanDeployment(model).eval(),
        image_dim=config.image_dim,
        vocab_size=config.vocab_size,
        options=vars(config),
        text_options={"ascii_case": True},
    )


def _config(opt: Any, source: Path) -> ScanConfig:
    def get(name: str, kind: type, **range_of: int) -> Any:
        return option(opt, name, kind, source=source, **range_of)

    if not hasattr(opt, "cross_attn"):
        raise CheckpointError(
            f"{source}: not a SCAN checkpoint: its options have no cross_attn, which says what "
            "attends to what; models built on SCAN's program save the same weights"
        )
    chosen = {
        "image_dim": get("img_dim", int),
        "embed_dim": get("embed_size", int),
        "word_dim": get("word_dim", int),
        "vocab_size": get("vocab_size", int),
        "direction": get("cross_attn", str),
        "attention_norm": get("raw_feature_norm", str),
        "temperature": get("lambda_softmax", float),
        "aggregation": get("agg_func", str),
        "num_layers": get("num_layers", int, most=MOST_LAYERS),
        "bidirectional": get("bi_gru", bool),
        "image_norm": not get("no_imgnorm", bool),
        "text_norm": not get("no_txtnorm", bool),
    }
    if chosen["aggregation"] == "LogSumExp":
        chosen["sharpness"] = get("lambda_lse", float)
    try:
        return ScanConfig(**chosen)
    except CheckpointError as error:
        raise CheckpointError(f"{source}: {error}") from error


def _encoder_kind(opt: Any, source: Path) -> str:
    kind: str = option(opt, "precomp_enc_type", str, source=source)
    if kind not in IMAGE_KEYS:
        raise CheckpointError(
            f"{source}: precomp_enc_type={kind!r} is unknown; known: {', '.join(IMAGE_KEYS)}"
        )
    return kind


def _image_part(weights: Mapping[str, Tensor], kind: str, source: Path) -> dict[str, Tensor]:
    """The image part without what the published program ignores."""
    known = {key: weights[key] for key in IMAGE_KEYS[kind] if key in weights}
    ignored = sorted(weights.keys() - known.keys())
    if ignored:
        log.warning(
            "%s: SCAN's image part does not use %s; the published program ignores them too, but "
            "a model that was trained with them is another one",
            source,
            ignored[:3],
        )
    return without_weight_norm(known, "fc")
