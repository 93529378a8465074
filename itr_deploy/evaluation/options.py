"""The options of an evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from itr_deploy.bundle.modality import Modality
from itr_deploy.bundle.published import DataSet, Published
from itr_deploy.evaluation.measures.baseline import Baseline
from itr_deploy.evaluation.measures.reranking import MergeKind
from itr_deploy.runtime.rerank.neighbours import NeighbourLists


@dataclass(frozen=True)
class Options:
    """What an evaluation computes, and what it keeps.

    Attributes:
        candidates: Score only the pairs that the coarse embedding shortlists, this many items per
            query; None scores every pair.
        folds: Number of equal folds of consecutive images to average over as well, 1 for none.
        steps: Also report the recall of the matcher's single steps, by this output of its graphs;
            its last axis holds every step's part of the score.
        images: Directory of the split's pictures, named by the images' ids, for the page.
        save_scores: Keep the score matrix; another evaluation of the same bundle and data, with
            ``force``, then reuses it.
        force: Replace a finished evaluation.
        rerank: Re-rank every query's best and merge both directions, with these options; None does
            not re-rank.
        mean_with: Directories of evaluations of the same images and captions that kept their
            scores: the split is ranked by the mean of these and the bundle's.
        baseline: Also score the split with this and report the difference of every figure.
        published: Published figures to show next to the measured ones on the page.
        data_set: The data set that the split is of; the published figures on it are part of the
            report, and the page shows no others. None if it is not said.
    """

    candidates: int | None = None
    folds: int = 1
    steps: str | None = None
    images: Path | None = None
    save_scores: bool = False
    force: bool = False
    rerank: RerankOptions | None = None
    mean_with: Sequence[Path] = ()
    baseline: Baseline | None = None
    published: Sequence[Published] = ()
    data_set: DataSet | None = None


@dataclass(frozen=True)
class RerankOptions:
    """How a re-ranker is evaluated.

    Attributes:
        lists: The user's neighbour lists, by modality; a modality without them uses pooled
            embeddings.
        merge: ``"published"`` writes the new scores, which are cosines, into the matcher's matrix;
            this needs a matcher whose scores are cosines too. ``"order"`` reassigns the matcher's
            own scores of a query's candidates in the new order.
    """

    lists: dict[Modality, NeighbourLists] = field(default_factory=dict)
    merge: MergeKind = "published"
