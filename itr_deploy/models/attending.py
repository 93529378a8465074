"""What attends to what, by word whoever attends: for `DeployedMatcher.match_and_attend`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from itr_deploy.models.layers import NORM_EPS

Told = tuple[Tensor, Tensor]
"""Weights ``[B, T, I, L, R]`` of one step, and how well words are matched, ``[B, T, I, L]``."""


def of_words(weights: Tensor, cosines: Tensor) -> Told:
    """A step in which words attend to regions.

    Args:
        weights: ``[B, I, T, L, R]``, which add up to 1 over the regions.
        cosines: ``[B, I, T, L]``, of each word with what it attends to.
    """
    return weights.transpose(1, 2), cosines.transpose(1, 2)


def of_regions(weights: Tensor, cosines: Tensor) -> Told:
    """A step in which regions attend to words.

    A word is matched as well as the regions that attend to it, by how much they do.

    Args:
        weights: ``[B, T, I, R, L]``, which add up to 1 over the words.
        cosines: ``[B, T, I, R]``, of each region with what it attends to.
    """
    by_word = weights.transpose(3, 4)
    found = (by_word @ cosines.unsqueeze(4)).squeeze(4)
    return by_word, found / by_word.sum(dim=4).clamp(min=NORM_EPS)


def stacked(steps: Sequence[Told]) -> Told:
    """All steps: weights ``[B, T, I, S, L, R]``, and matches ``[B, T, I, S, L]``."""
    weights, found = zip(*steps, strict=True)
    return torch.stack(weights, dim=3), torch.stack(found, dim=3)
