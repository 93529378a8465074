"""One evaluation: the scores of a split, the field's figures for them, and the report."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from itr_deploy.bundle.files import output_errors, write_file, write_json
from itr_deploy.bundle.modality import MODALITIES, Modality
from itr_deploy.errors import UsageError
from itr_deploy.evaluation.data.memory import peak_memory
from itr_deploy.evaluation.data.split import Split
from itr_deploy.evaluation.directory import (
    BASELINE,
    PAGE,
    PREFILTER,
    REFINE,
    REPORT,
    SCORES,
    check_evaluation_output,
    finished,
    remove_embeddings,
)
from itr_deploy.evaluation.measures.baseline import baseline_scores
from itr_deploy.evaluation.measures.merge import TwoWayMerge
from itr_deploy.evaluation.measures.prefilter import (
    Cascade,
    cascade_widths,
    prefilter_scores,
    refine_scores,
    refine_widths,
)
from itr_deploy.evaluation.measures.recall import ranks, recall
from itr_deploy.evaluation.measures.reranking import (
    Network,
    SplitSimilarities,
    check_enough,
    check_lists,
    reranked,
)
from itr_deploy.evaluation.measures.search_stages import (
    Staged,
    one_product,
    staged,
    with_mean,
    with_reranking,
)
from itr_deploy.evaluation.measures.split_ranks import Ranking, SplitRanks, split_ranks
from itr_deploy.evaluation.options import Options
from itr_deploy.evaluation.progress import QUIET, Bar
from itr_deploy.evaluation.report.build import (
    baseline_figures,
    cascade_figures,
    collapse_warning,
    evaluated_bundle,
    evaluated_data,
    fold_figures,
    published_figures,
    rerank_figures,
    shortlist_figures,
    stage_figures,
    step_figures,
)
from itr_deploy.evaluation.report.model import EvaluationReport, Run
from itr_deploy.evaluation.report.page import page
from itr_deploy.evaluation.report.pictures import Pictures
from itr_deploy.evaluation.request import request_digest, scoring_kind
from itr_deploy.evaluation.scores.coarse import Coarse
from itr_deploy.evaluation.scores.combined import Mean
from itr_deploy.evaluation.scores.fill import fill, resume_matrix, scoring_digest
from itr_deploy.evaluation.scores.grid import length
from itr_deploy.evaluation.scores.matrix import ScoreMatrix
from itr_deploy.evaluation.scores.saved import saved_scores
from itr_deploy.evaluation.scores.scorers import BundleScorer, ShortlistScorer, StepScorer
from itr_deploy.evaluation.scores.split_encoder import SplitItems
from itr_deploy.evaluation.scores.split_scores import Scores, SplitScores
from itr_deploy.runtime.matcher import Matcher
from itr_deploy.runtime.rerank.matrices import Inputs
from itr_deploy.runtime.rerank.reranking import network_scores, reranker_of

log = logging.getLogger(__name__)

Widths = Mapping[Modality, int | None]
Scored = Callable[[SplitItems, Path, bool, Bar], ScoreMatrix]


def evaluate(
    matcher: Matcher, split: Split, output: Path, options: Options, bar: Bar = QUIET
) -> EvaluationReport:
    """Score a split's images with its captions and write the figures.

    If stopped or killed, it leaves its finished tiles, and the same call resumes there. Memory is
    bounded by the matcher's budget, whatever the split's size; only the captions, their token ids
    and a few ranks per query grow with it.

    Args:
        matcher: The bundle, loaded.
        split: The data.
        output: Directory of the report; `REPORT` appears in it last.
        options: What to compute and what to keep.
        bar: Receives the progress, in pairs.

    Returns:
        The report, which is also written to `REPORT`.

    Raises:
        InputError: The data does not fit the bundle, or ``output`` has scores of something else.
        OutputError: ``output`` is a finished evaluation of something else, or is not an
            evaluation, or the disk cannot be written.
        UsageError: The folds do not divide the images, options exclude each other, or the bundle's
            graphs do not output the steps.
    """
    _check(matcher, split, options)
    answers = split.answers
    pictures = Pictures(options.images, split.image_ids)
    check_evaluation_output(output, force=options.force)
    others = [saved_scores(path, split) for path in options.mean_with]
    request = request_digest(matcher, split, options, others)
    report = finished(output, request, force=options.force)
    if report is not None:
        log.warning(
            "%s: this evaluation is finished, by %s; nothing was computed; give force=True "
            "(--force) to do it again by %s",
            *(output, report.run.backend, matcher.backend.description),
        )
        return report
    saved_before = (output / REPORT).exists()

    began = time.monotonic()
    items = SplitItems(matcher, split)
    matrix, coarse, scored = split_scores(items, output / SCORES, options, bar)
    seconds = time.monotonic() - began
    ranking = _Rankings(matcher, split, coarse, options, others, bar)
    own = split_ranks(ranking.of(matrix, ranking.bundle), answers, options.folds)
    own_work = [(matrix, scored > 0)]
    cascade = None
    if options.candidates is None:
        cascade, narrowing = _cascade(items, coarse, output, options, bar)
        own_work += narrowing
    data = SplitScores(matrix.plane(), coarse, answers)
    stages = _stages(data, matcher, options, own, cascade)
    report = EvaluationReport(
        bundle=evaluated_bundle(matcher),
        data=evaluated_data(split),
        scoring=_scoring(options),
        mean_with=tuple(map(str, options.mean_with)) or None,
        recall=recall(stages.stages[-1].ranks),
        stages=stage_figures(stages),
        shortlists=shortlist_figures(stages),
        cascade=None if cascade is None else cascade_figures(stages, cascade),
        rerank=rerank_figures(matcher, options.rerank, own) if options.rerank else None,
        steps=step_figures(matrix, answers) if options.steps is not None else None,
        folds=fold_figures(own),
        published=None if options.data_set is None else published_figures(options.published),
        warning=collapse_warning(matrix.plane()) if options.candidates is None else None,
        run=Run(
            pairs_scored=scored,
            scoring_seconds=round(seconds, 3),
            peak_memory_bytes=peak_memory(),
            backend=matcher.backend.description,
        ),
        request=request,
    )
    if options.baseline is not None:
        kept_before = (output / BASELINE).exists() and not options.force
        other = baseline_scores(options.baseline, split, output / BASELINE, options.force, bar)
        own_work.append((other, not kept_before))
        theirs = ranking.of(other, options.baseline.network)
        compared = split_ranks(theirs, answers, options.folds)
        found = baseline_figures(options.baseline.name, own, compared)
        report = report.model_copy(update={"baseline": found})
    write_file(output / PAGE, page(report, stages, split, pictures, options.published))
    write_json(output / REPORT, report.model_dump())
    with output_errors(output, "the report is complete"):
        remove_embeddings(output / SCORES)
        for entry, made_now in own_work:
            if not options.save_scores and not (saved_before and not made_now):
                entry.remove()
    return report


def _cascade(
    items: SplitItems, coarse: Coarse, output: Path, options: Options, bar: Bar
) -> tuple[Cascade | None, list[tuple[ScoreMatrix, bool]]]:
    """What narrows the bundle's shortlists, None for nothing; its scores, and which are new."""
    matcher, work = items.matcher, list[tuple[ScoreMatrix, bool]]()
    pipeline = matcher.bundle.manifest.pipeline

    def scores(part: object, widths: Widths, root: Path, score: Scored) -> Scores | None:
        if part is None or not any(widths.values()):
            return None
        kept_before = root.exists() and not options.force
        matrix = score(items, root, options.force, bar)
        work.append((matrix, not kept_before))
        return matrix.plane()

    widths, refined = cascade_widths(pipeline, coarse), refine_widths(pipeline, coarse)
    first = scores(matcher.prefilter, widths, output / PREFILTER, prefilter_scores)
    second = scores(matcher.refiner, refined, output / REFINE, refine_scores)
    if first is None and second is None:
        return None, work
    nothing: Widths = dict.fromkeys(MODALITIES)
    return Cascade(
        first, nothing if first is None else widths, second, nothing if second is None else refined
    ), work


def _check(matcher: Matcher, split: Split, options: Options) -> None:
    """Check that the evaluation is possible, before anything is scored.

    Raises:
        InputError: The split is too small for the re-ranker, or the neighbour lists do not fit it.
        UsageError: The folds do not divide the images, or options exclude each other.
    """
    if options.candidates is not None and matcher.bundle.manifest.is_dual_encoder:
        raise UsageError(
            f"candidates={options.candidates} (--candidates) means nothing for a dual encoder: "
            "every pair is scored by one product; leave it out"
        )
    if options.folds > 1 and options.candidates is not None:
        raise UsageError("folds search parts of the split; give them without a shortlist")
    whole = any(given is not None for given in (options.baseline, options.steps, options.rerank))
    if options.candidates is not None and whole:
        raise UsageError(
            "a baseline, steps and re-ranking take every pair; give them without a shortlist"
        )
    if options.mean_with and (whole or options.candidates is not None):
        raise UsageError(
            "mean_with= (--mean-with) ranks by scores of several models; give it without a "
            "baseline, steps, re-ranking and a shortlist"
        )
    folds = split.answers.folds(options.folds)
    if options.rerank is not None:
        record = reranker_of(matcher)
        for part in folds:
            check_enough(record, *(length(items) for items in part))
        check_lists(split, options.rerank.lists, record, folds)


def _scoring(options: Options) -> str:
    """What was scored, in words."""
    if options.candidates is not None:
        return f"shortlist of {options.candidates}"
    if options.mean_with:
        return f"exhaustive, mean of {1 + len(options.mean_with)} models"
    return "exhaustive"


class _Rankings:
    """The scores by which a split is ranked: a matcher's own, a mean of several, a re-ranker's."""

    def __init__(
        self,
        matcher: Matcher,
        split: Split,
        coarse: Coarse,
        options: Options,
        others: Sequence[ScoreMatrix],
        bar: Bar,
    ) -> None:
        self._bar, self._rerank, self._others = bar, options.rerank, others
        if self._rerank is not None:
            self._record, self._merge = reranker_of(matcher), self._rerank.merge
            self._similarities = SplitSimilarities(coarse, split, self._rerank.lists)
        self._matcher = matcher

    def bundle(self, query: Modality, inputs: Inputs) -> NDArray[np.float32]:
        """New scores by the bundle's re-ranker."""
        return network_scores(self._matcher, query, inputs.affinities, inputs.edges)

    def of(self, matrix: ScoreMatrix, network: Network | None) -> Ranking:
        """The ranking by a matrix, re-ranked if requested."""

        def plain(images: slice, captions: slice) -> Scores:
            parts = [entry.plane().part(images, captions) for entry in (matrix, *self._others)]
            return Mean(parts) if self._others else parts[0]

        def again(images: slice, captions: slice) -> Scores:
            assert network is not None
            self._bar.step(f"re-ranking {images.stop - images.start} images and their captions")
            return reranked(
                matrix, self._similarities, images, captions, self._record, network, self._merge
            )

        return plain if self._rerank is None else again


def split_scores(
    items: SplitItems, root: Path, options: Options, bar: Bar
) -> tuple[ScoreMatrix, Coarse, int]:
    """A split's scores and coarse embeddings in ``root``, and how many pairs this call scored."""
    bar.step("reading the data")
    manifest = items.matcher.bundle.manifest
    identity = {
        "bundle": scoring_digest(manifest),
        "data": items.split.digest(),
        "kind": scoring_kind(options, manifest),
    }
    begun = resume_matrix(root, identity, force=options.force)
    scorer = BundleScorer(items) if options.steps is None else StepScorer(items, options.steps)
    bar.step("encoding")
    coarse = Coarse.encode(items, root)
    if options.candidates is not None:
        scorer = ShortlistScorer(items, coarse, options.candidates)
    matrix = begun or ScoreMatrix.create(root, identity, scorer.grid, scorer.planes)
    fill(matrix, scorer, bar, "scoring pairs")
    return matrix, coarse, scorer.scored


def _stages(
    data: SplitScores, matcher: Matcher, options: Options, own: SplitRanks, cascade: Cascade | None
) -> Staged:
    """How every stage of a search ranks the split."""
    exhaustive = None
    if options.candidates is None:
        alone = options.rerank is None and not options.mean_with
        exhaustive = own.ranks if alone else ranks(data.scores, data.answers)
    manifest = matcher.bundle.manifest
    pipeline = manifest.pipeline
    widths = {query: options.candidates or pipeline.width(query) for query in MODALITIES}
    if manifest.is_dual_encoder and exhaustive is not None:
        stages = one_product(data, exhaustive)
    else:
        stages = staged(data, exhaustive=exhaustive, widths=widths, cascade=cascade)
    if exhaustive is not None and isinstance(own.scores, TwoWayMerge):
        return with_reranking(stages, own.scores, own.ranks, exhaustive)
    if isinstance(own.scores, Mean):
        return with_mean(stages, own.scores, own.ranks)
    return stages
