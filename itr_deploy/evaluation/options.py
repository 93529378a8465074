"""What an evaluation is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from itr_deploy.bundle.modality import Modality
from itr_deploy.bundle.published import Published
from itr_deploy.evaluation.measures.baseline import Baseline
from itr_deploy.evaluation.measures.reranking import MergeKind
from itr_deploy.runtime.rerank.neighbours import NeighbourLists


@dataclass(frozen=True)
class Options:
    """What an evaluation computes, and what it leaves.

    Attributes:
        candidates: Score only the pairs that the coarse embedding shortlists, so many items a
            query; None scores every pair.
        folds: Equal folds of consecutive images to average over as well, 1 for none.
        steps: Also the recall of the matcher's single steps, by this output of its graphs: every
            step's part of the score on the last axis.
        images: Directory of the split's pictures, named by their ids, for the page.
        save_scores: Keep the score matrix; another evaluation of the same bundle and data, with
            ``force``, then takes it as it is.
        force: Replace a finished evaluation.
        rerank: Re-rank every query's best and merge both directions; what the re-ranker needs
            besides the bundle.
        baseline: Score the split with this as well and report the difference of every figure.
        published: What the papers give, to stand beside the figures on the page.
    """

    candidates: int | None = None
    folds: int = 1
    steps: str | None = None
    images: Path | None = None
    save_scores: bool = False
    force: bool = False
    rerank: RerankOptions | None = None
    baseline: Baseline | None = None
    published: Sequence[Published] = ()


@dataclass(frozen=True)
class RerankOptions:
    """How a re-ranker is evaluated.

    Attributes:
        lists: Similarity within a modality as the user gives it, by modality; none where pooled
            embeddings serve.
        merge: ``"published"`` writes the new scores, cosines, into the matcher's matrix as they
            are, which takes a matcher whose scores are cosines too; ``"order"`` hands the
            matcher's own scores of a query's candidates out anew, in the new order.
    """

    lists: dict[Modality, NeighbourLists] = field(default_factory=dict)
    merge: MergeKind = "published"
