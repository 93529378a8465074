"""The losses with which the field trains matching models."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def hinge_loss(scores: Tensor, *, margin: float, hardest: bool) -> Tensor:
    """Triplet loss of a batch's scores `[B, B]`, whose diagonal holds the right pairs.

    Args:
        scores: Pictures in rows, captions in columns.
        margin: By how much a right pair should beat a wrong one.
        hardest: Count only the worst wrong caption of every picture and the worst wrong picture
            of every caption (VSE++, Faghri et al. 2018) instead of the mean of all wrong ones.
            The hardest alone can keep a fresh model from learning.
    """
    right = scores.diag()
    wrong = ~torch.eye(len(scores), dtype=torch.bool)
    captions = (margin + scores - right[:, None]).clamp(min=0) * wrong
    pictures = (margin + scores - right[None, :]).clamp(min=0) * wrong
    if hardest:
        return captions.amax(dim=1).mean() + pictures.amax(dim=0).mean()
    return (captions + pictures).sum() / wrong.sum()


def contrastive_loss(scores: Tensor, *, temperature: float = 0.05) -> Tensor:
    """Cross-entropy of finding the right item among all, both ways (InfoNCE).

    Args:
        scores: `[B, B]`, the right pairs on the diagonal.
        temperature: What scores are divided by.
    """
    right = torch.arange(len(scores))
    logits = scores / temperature
    both = functional.cross_entropy(logits, right) + functional.cross_entropy(logits.T, right)
    return both / 2
