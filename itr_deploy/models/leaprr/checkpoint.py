"""Reading a published LeaPRR checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from itr_deploy.errors import CheckpointError
from itr_deploy.models.checkpoints import another_model, build_loaded, load_checkpoint
from itr_deploy.models.contract import TrainedReranker
from itr_deploy.models.leaprr.config import LeaprrConfig
from itr_deploy.models.leaprr.network import Leaprr

PREFIXES = {"text_to_image": "model_t2i.", "image_to_text": "model_i2t."}
TRAINING_ONLY = "feature_align."
"""A part of the published network that only its loss uses."""


def load(checkpoint: Path, *, heads: int = 24) -> TrainedReranker:
    """Read a published LeaPRR checkpoint.

    Args:
        checkpoint: A ``checkpoint_best.pth`` of the published program.
        heads: Heads of the attention; every other size is in the weights.

    Raises:
        CheckpointError: The file is not a LeaPRR checkpoint, or the heads do not divide its width.
    """
    state = load_checkpoint(checkpoint, expected=("state_dict",))["state_dict"]
    if not isinstance(state, Mapping):
        raise CheckpointError(
            f"{checkpoint}: 'state_dict' is a {type(state).__name__}, not a LeaPRR's weights"
        )
    networks = {
        direction: _network(_of_direction(state, prefix, checkpoint), heads, checkpoint)
        for direction, prefix in PREFIXES.items()
    }
    widths = {direction: network.pillars for direction, network in networks.items()}
    if len(set(widths.values())) > 1:
        raise CheckpointError(
            f"{checkpoint}: its two networks take {widths} pillars; a published LeaPRR has one "
            "number for both"
        )
    return TrainedReranker(**networks, heads=heads)


def _of_direction(state: Mapping[str, Any], prefix: str, source: Path) -> dict[str, Tensor]:
    weights = {
        key.removeprefix(prefix): value
        for key, value in state.items()
        if key.startswith(prefix) and not key.startswith(prefix + TRAINING_ONLY)
    }
    tensors = all(isinstance(value, Tensor) for value in weights.values())
    if not tensors or "topk_proj.weight" not in weights or weights["topk_proj.weight"].ndim != 2:
        raise CheckpointError(
            f"{source}: not a LeaPRR checkpoint: it has no {prefix}topk_proj.weight; "
            f"it starts with {next(iter(state), 'nothing')!r}; {another_model(state)}"
        )
    return weights


def _network(weights: Mapping[str, Tensor], heads: int, source: Path) -> Leaprr:
    width, inputs = weights["topk_proj.weight"].shape
    hidden = weights.get("blocks.0.mlp.fc1.bias", weights["topk_proj.weight"]).shape[:1]
    config = LeaprrConfig(
        pillars=inputs // 2,
        embed_dim=width,
        heads=heads,
        hidden=hidden[0] if hidden else 1,
        depth=len({key.split(".")[1] for key in weights if key.startswith("blocks.")}),
    )
    network = build_loaded(lambda: Leaprr(config), {"": weights}, source=source, family="LeaPRR")
    return network.eval()
