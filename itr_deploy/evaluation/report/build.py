"""Builds the parts of an evaluation's report from what was measured."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from itr_deploy.bundle.modality import Modality
from itr_deploy.bundle.published import Published
from itr_deploy.evaluation.data.answers import Answers
from itr_deploy.evaluation.data.split import Split
from itr_deploy.evaluation.measures.baseline import largest_difference, moved
from itr_deploy.evaluation.measures.collapse import collapse
from itr_deploy.evaluation.measures.figures import BothWays
from itr_deploy.evaluation.measures.merge import TwoWayMerge
from itr_deploy.evaluation.measures.prefilter import Cascade
from itr_deploy.evaluation.measures.recall import CUTOFFS, recall, recall_curve
from itr_deploy.evaluation.measures.search_stages import DEPTHS, Stage, Staged
from itr_deploy.evaluation.measures.shortlist import Shortlists
from itr_deploy.evaluation.measures.split_ranks import SplitRanks
from itr_deploy.evaluation.measures.steps import step_recalls
from itr_deploy.evaluation.options import RerankOptions
from itr_deploy.evaluation.report.model import (
    BaselineFigures,
    Curve,
    EvaluatedBundle,
    EvaluatedData,
    FoldFigures,
    PublishedFigures,
    RerankFigures,
    ShortlistFigures,
    SimilarityWithin,
    SplitFigures,
    StageFigures,
    StepFigures,
)
from itr_deploy.evaluation.scores.matrix import ScoreMatrix
from itr_deploy.evaluation.scores.split_scores import Scores
from itr_deploy.runtime.matcher import Matcher
from itr_deploy.runtime.rerank.reranking import reranker_of

log = logging.getLogger(__name__)

OFTEN = 0.1
OFF_SCALE = (
    "all new scores of {:.0f} % of the images and {:.0f} % of the captions are below what the "
    "matcher gave the last candidate, so that what was re-ranked falls behind the rest: this "
    "matcher's scores and the re-ranker's are not of one scale, as the published merge takes them "
    "to be; merge='order' (--merge order) merges by the new order alone"
)


def evaluated_bundle(matcher: Matcher) -> EvaluatedBundle:
    """Which bundle was evaluated."""
    manifest = matcher.bundle.manifest
    return EvaluatedBundle(
        path=str(matcher.bundle.path),
        family=manifest.family,
        options=manifest.options,
        members=tuple(member.family for member in manifest.members),
        front=None if manifest.front is None else manifest.front.family,
        encoding_id=manifest.encoding_id,
        checkpoint=manifest.provenance.checkpoint,
    )


def evaluated_data(split: Split) -> EvaluatedData:
    """Which data it was evaluated on."""
    answers = split.answers
    return EvaluatedData(
        split=split.name,
        images=len(split.regions),
        captions=len(split.captions),
        captions_per_image=answers.per_image,
        images_without_captions=int((answers.counts == 0).sum()) or None,
        first=split.cut_to,
    )


def published_figures(rows: Sequence[Published]) -> tuple[PublishedFigures, ...]:
    """Published figures as a part of a report."""
    return tuple(
        PublishedFigures(
            model=row.model,
            data=row.protocol.name,
            folds=row.protocol.folds,
            image_to_text=row.image_to_text,
            text_to_image=row.text_to_image,
            rsum=row.rsum,
            source=row.source,
        )
        for row in rows
    )


def collapse_warning(scores: Scores) -> str | None:
    """What to say of a matcher that tells no images or no captions apart, None of others."""
    warning = collapse(scores)
    if warning is not None:
        log.warning("%s", warning)
    return warning


def stage_figures(stages: Staged) -> tuple[StageFigures, ...]:
    """How well every stage ranks."""
    return tuple(map(_stage, stages.stages))


def _stage(stage: Stage) -> StageFigures:
    return StageFigures(
        name=stage.name,
        widths=BothWays[int | None](
            image_to_text=stage.widths["image"], text_to_image=stage.widths["text"]
        ),
        recall=recall(stage.ranks),
        curve=Curve(
            depths=DEPTHS,
            image_to_text=tuple(recall_curve(stage.of("image"), DEPTHS)),
            text_to_image=tuple(recall_curve(stage.of("text"), DEPTHS)),
        ),
    )


def shortlist_figures(stages: Staged) -> BothWays[tuple[ShortlistFigures, ...]]:
    """What shortlists by the coarse embedding lose, for every width that was measured."""

    def of(query: Modality) -> tuple[ShortlistFigures, ...]:
        found = stages.by_query.get(query)
        return () if found is None else _shortlists(found, stages.plain.get(query))

    return BothWays[tuple[ShortlistFigures, ...]](
        image_to_text=of("image"), text_to_image=of("text")
    )


def cascade_figures(stages: Staged, cascade: Cascade) -> BothWays[tuple[ShortlistFigures, ...]]:
    """What a search's shortlist loses, in the directions with a prefilter or a refiner."""

    def of(query: Modality) -> tuple[ShortlistFigures, ...]:
        if not cascade.narrows(query):
            return ()
        widths = cascade.widths.get(query), cascade.refine_widths.get(query)
        return _shortlists(stages.behind[query], None, *widths)

    return BothWays[tuple[ShortlistFigures, ...]](
        image_to_text=of("image"), text_to_image=of("text")
    )


def _shortlists(
    found: Shortlists,
    plain: Shortlists | None = None,
    prefilter: int | None = None,
    refine: int | None = None,
) -> tuple[ShortlistFigures, ...]:
    """Figures for every width.

    Args:
        found: The shortlists.
        plain: The same by the plain coarse embeddings, if ``found`` uses a projection.
        prefilter: Width of the shortlist that the prefilter read, None without a prefilter.
        refine: Width of the shortlist that the refiner read, None without a refiner.
    """
    figures = []
    for width, ranks in found.ranks.items():
        r1, r5, r10 = recall_curve(ranks, CUTOFFS)
        figures.append(
            ShortlistFigures(
                prefilter=prefilter,
                refine=refine,
                width=width,
                r1=r1,
                r5=r5,
                r10=r10,
                share_of_top10=None if found.places is None else found.share(width),
                share_of_top10_plain=None if plain is None else plain.share(width),
            )
        )
    return tuple(figures)


def rerank_figures(matcher: Matcher, given: RerankOptions, own: SplitRanks) -> RerankFigures:
    """How a bundle's re-ranker was used, with a warning if its scores fell behind the rest."""
    record, merge = reranker_of(matcher), own.scores
    assert isinstance(merge, TwoWayMerge)
    images, captions = merge.by_image.fallen_behind, merge.by_caption.fallen_behind
    warning = None
    if max(images, captions) > OFTEN:
        warning = OFF_SCALE.format(100 * images, 100 * captions)
        log.warning("%s", warning)

    def within(modality: Modality) -> str:
        return "neighbour lists" if modality in given.lists else "pooled embeddings"

    return RerankFigures(
        merge=given.merge,
        warning=warning,
        family=record.family,
        checkpoint=record.provenance.checkpoint,
        rows=BothWays[int](
            image_to_text=record.image_to_text.rows, text_to_image=record.text_to_image.rows
        ),
        pillars=record.pillars,
        similarity_within=SimilarityWithin(images=within("image"), captions=within("text")),
    )


def step_figures(matrix: ScoreMatrix, answers: Answers) -> tuple[StepFigures, ...]:
    """Recall of a matcher's single steps, alone and summed up to each."""
    return tuple(
        StepFigures(step=step, alone=alone, up_to=up_to)
        for step, (alone, up_to) in enumerate(step_recalls(matrix, answers), start=1)
    )


def fold_figures(own: SplitRanks) -> FoldFigures | None:
    """Recall within folds, None without folds."""
    mean, each = own.folds_mean, own.fold_recalls
    return None if mean is None else FoldFigures(count=len(each), mean=mean, each=each)


def baseline_figures(name: str, own: SplitRanks, other: SplitRanks) -> BaselineFigures:
    """The baseline's figures, and each figure's difference: the bundle's minus the baseline's.

    Args:
        name: The baseline's name.
        own: The bundle's ranks.
        other: The baseline's ranks.
    """
    mean, theirs = own.folds_mean, other.folds_mean
    return BaselineFigures(
        name=name,
        recall=other.recall,
        folds_mean=theirs,
        difference=SplitFigures(
            recall=own.recall - other.recall,
            folds_mean=None if mean is None or theirs is None else mean - theirs,
        ),
        queries_with_another_rank=moved(own.ranks, other.ranks),
        largest_score_difference=largest_difference(own.scores, other.scores),
    )
