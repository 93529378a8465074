"""The normalisation of affinities before the softmax of an attention, as SCAN introduced it.

IMRAM and DIME have the same option, ``raw_feature_norm``, with the same values.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from itr_deploy.errors import CheckpointError

FIRST_NORMS = ("clipped_l2norm", "l2norm", "softmax", "clipped", "no_norm")
CRASHING_NORMS = ("l1norm", "clipped_l1norm")
"""Accepted by the published programs' option parsers; their forward passes then fail."""


def check_first_norm(kind: str, option: str = "raw_feature_norm") -> None:
    """Refuse a normalisation that is not known.

    Args:
        kind: Its name.
        option: The option's name in the checkpoint, for messages.

    Raises:
        CheckpointError: The published program fails on it, or does not have it.
    """
    if kind in CRASHING_NORMS:
        raise CheckpointError(
            f"{option}={kind!r} has no defined score: the published program fails on it; "
            f"train with one of {', '.join(FIRST_NORMS)}"
        )
    if kind not in FIRST_NORMS:
        raise CheckpointError(f"{option}={kind!r} is unknown; known: {', '.join(FIRST_NORMS)}")


def first_norm(
    kind: str, affinity: Tensor, dim: int, norm: Callable[[Tensor, int], Tensor]
) -> Tensor:
    """Normalise raw affinities along the query axis ``dim``; ``norm`` is the L2 norm to use."""
    if kind == "softmax":
        return torch.softmax(affinity, dim=dim)
    if kind.startswith("clipped"):
        affinity = functional.leaky_relu(affinity, 0.1)
    return norm(affinity, dim) if kind.endswith("l2norm") else affinity
