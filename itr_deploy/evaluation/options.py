"""What an evaluation is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from itr_deploy.evaluation.baseline import Baseline


@dataclass(frozen=True)
class Options:
    """What an evaluation computes, and what it leaves.

    Attributes:
        candidates: Score only the pairs that the coarse embedding shortlists, so many items a
            query; None scores every pair.
        folds: Equal folds of consecutive images to average over as well, 1 for none.
        images: Directory of the split's pictures, named by their ids, for the page.
        save_scores: Keep the score matrix; another evaluation of the same bundle and data, with
            ``force``, then takes it as it is.
        force: Replace a finished evaluation.
        baseline: Score the split with this as well and report the difference of every figure.
    """

    candidates: int | None = None
    folds: int = 1
    images: Path | None = None
    save_scores: bool = False
    force: bool = False
    baseline: Baseline | None = None
