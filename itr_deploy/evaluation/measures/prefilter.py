"""The prefilter of a search, on a split: its scores and the resulting order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from itr_deploy.bundle.manifest import Pipeline
from itr_deploy.bundle.modality import MODALITIES, Modality
from itr_deploy.evaluation.measures.shortlist import Order, prefiltered_order
from itr_deploy.evaluation.progress import Bar
from itr_deploy.evaluation.scores.coarse import Coarse
from itr_deploy.evaluation.scores.fill import fill, resume_matrix, scoring_digest
from itr_deploy.evaluation.scores.matrix import ScoreMatrix
from itr_deploy.evaluation.scores.scorers import BundleScorer
from itr_deploy.evaluation.scores.split_encoder import SplitItems
from itr_deploy.evaluation.scores.split_scores import Scores


@dataclass(frozen=True, eq=False)
class Cascade:
    """A prefilter between the coarse embedding and the matcher.

    Attributes:
        scores: The prefilter's scores of every pair, ``float32 [N, C]``.
        widths: Width of the shortlist that it reads, by the query's modality; None if that
            direction has no prefilter.
    """

    scores: Scores
    widths: Mapping[Modality, int | None]

    def orders(self, coarse: Coarse) -> dict[Modality, Order]:
        """The orders whose first items the matcher scores, for directions with a prefilter."""
        return {
            query: prefiltered_order(coarse, self.scores, query, width)
            for query, width in self.widths.items()
            if width is not None
        }


def cascade_widths(pipeline: Pipeline, coarse: Coarse) -> dict[Modality, int | None]:
    """How many items the prefilter reads in a pipeline's searches, None if it is left out."""
    found: dict[Modality, int | None] = {}
    for query in MODALITIES:
        items, narrow = coarse.items(query), pipeline.width(query)
        wide = min(pipeline.prefilter_width(query) or 0, items)
        found[query] = wide if narrow is not None and wide > narrow else None
    return found


def prefilter_scores(items: SplitItems, root: Path, force: bool, bar: Bar) -> ScoreMatrix:
    """The prefilter's scores of every pair of a split, stored in ``root``.

    Scores that an interrupted run left there are completed.

    Raises:
        InputError: ``root`` has scores of something else, and ``force`` is not set.
        OutputError: The disk cannot be written.
    """
    matcher = items.matcher
    identity = {
        "bundle": scoring_digest(matcher.bundle.manifest),
        "data": items.split.digest(),
        "kind": "prefilter, every pair",
    }
    scorer = BundleScorer(items, matcher.prefilter)
    matrix = resume_matrix(root, identity, force=force)
    matrix = matrix or ScoreMatrix.create(root, identity, scorer.grid)
    fill(matrix, scorer, bar, "prefiltering pairs")
    return matrix
