"""What narrows a search's shortlist, on a split: scores and the resulting orders."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from itr_deploy.bundle.manifest import Pipeline
from itr_deploy.bundle.modality import MODALITIES, Modality
from itr_deploy.evaluation.measures.shortlist import Order, coarse_order, narrowed_order
from itr_deploy.evaluation.progress import Bar
from itr_deploy.evaluation.scores.coarse import Coarse
from itr_deploy.evaluation.scores.fill import fill, resume_matrix, scoring_digest
from itr_deploy.evaluation.scores.matrix import ScoreMatrix
from itr_deploy.evaluation.scores.scorers import BundleScorer
from itr_deploy.evaluation.scores.split_encoder import SplitItems
from itr_deploy.evaluation.scores.split_scores import Scores
from itr_deploy.runtime.scorer import Scorer
from itr_deploy.runtime.search.narrowing import read_as_bytes


@dataclass(frozen=True, eq=False)
class Cascade:
    """What is between the coarse embedding and the matcher: a prefilter, and a refiner.

    Attributes:
        scores: The prefilter's scores of every pair, ``float32 [N, C]``; None if no direction has
            one.
        widths: Width of the shortlist that it reads, by the query's modality; None if that
            direction has no prefilter.
        refine: The refiner's scores, as the prefilter's.
        refine_widths: Width of the shortlist that the refiner reads.
    """

    scores: Scores | None
    widths: Mapping[Modality, int | None]
    refine: Scores | None = None
    refine_widths: Mapping[Modality, int | None] = field(default_factory=dict)

    def orders(self, coarse: Coarse) -> dict[Modality, Order]:
        """The orders whose first items the matcher scores, for directions that have either."""
        found: dict[Modality, Order] = {}
        for scores, widths in ((self.scores, self.widths), (self.refine, self.refine_widths)):
            for query, width in widths.items():
                if scores is not None and width is not None:
                    before = found.get(query) or partial(coarse_order, coarse, query)
                    found[query] = narrowed_order(before, scores, query, width)
        return found

    def narrows(self, query: Modality) -> bool:
        """Whether anything is between the coarse embedding and the matcher in this direction."""
        return self.widths.get(query) is not None or self.refine_widths.get(query) is not None


def refine_widths(pipeline: Pipeline, coarse: Coarse) -> dict[Modality, int | None]:
    """How many items the refiner reads in a pipeline's searches, None if it is left out."""
    return {
        query: _used(pipeline.refine_width(query), pipeline.width(query), coarse.items(query))
        for query in MODALITIES
    }


def cascade_widths(pipeline: Pipeline, coarse: Coarse) -> dict[Modality, int | None]:
    """How many items the prefilter reads in a pipeline's searches, None if it is left out."""
    refined = refine_widths(pipeline, coarse)
    return {
        query: _used(
            pipeline.prefilter_width(query),
            refined[query] or pipeline.width(query),
            coarse.items(query),
        )
        for query in MODALITIES
    }


def _used(width: int | None, leaves: int | None, items: int) -> int | None:
    """A width within a gallery, None where it is not wider than what is left of it."""
    width = min(width or 0, items)
    return width if leaves is not None and width > leaves else None


def prefilter_scores(items: SplitItems, root: Path, force: bool, bar: Bar) -> ScoreMatrix:
    """The prefilter's scores of every pair of a split, stored in ``root``.

    Scores that an interrupted run left there are completed.

    Raises:
        InputError: ``root`` has scores of something else, and ``force`` is not set.
        OutputError: The disk cannot be written.
    """
    return _scores(items, items.matcher.prefilter, "prefilter", root, force, bar)


def refine_scores(items: SplitItems, root: Path, force: bool, bar: Bar) -> ScoreMatrix:
    """The refiner's scores, as `prefilter_scores`."""
    return _scores(items, items.matcher.refiner, "refiner", root, force, bar)


def _scores(
    items: SplitItems, scorer: Scorer | None, what: str, root: Path, force: bool, bar: Bar
) -> ScoreMatrix:
    matcher = items.matcher
    # As a search of images in memory does, if there are enough of them.
    names = scorer.in_bytes("image") & read_as_bytes(matcher, "image") if scorer is not None else ()
    identity = {
        "bundle": scoring_digest(matcher.bundle.manifest),
        "data": items.split.digest(),
        "kind": f"{what}, every pair{', images in bytes' if names else ''}",
    }
    filler = BundleScorer(items, scorer, names)
    matrix = resume_matrix(root, identity, force=force)
    matrix = matrix or ScoreMatrix.create(root, identity, filler.grid)
    fill(matrix, filler, bar, f"pairs by the {what}")
    return matrix
