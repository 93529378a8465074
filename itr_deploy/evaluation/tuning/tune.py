"""The cheapest search that keeps a share of the exhaustive top 10, into the bundle."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from itr_deploy.bundle.files import output_errors
from itr_deploy.bundle.modality import MODALITIES, Modality
from itr_deploy.errors import UsageError
from itr_deploy.evaluation.data.split import Split
from itr_deploy.evaluation.directory import (
    PREFILTER,
    REPORT,
    SCORES,
    check_evaluation_output,
    remove_embeddings,
)
from itr_deploy.evaluation.evaluate import split_scores
from itr_deploy.evaluation.measures.prefilter import cascade_widths, prefilter_scores
from itr_deploy.evaluation.measures.shortlist import prefiltered_order, shortlists
from itr_deploy.evaluation.options import Options
from itr_deploy.evaluation.progress import QUIET, Bar
from itr_deploy.evaluation.scores.split_encoder import SplitItems
from itr_deploy.evaluation.scores.split_scores import SplitScores
from itr_deploy.evaluation.tuning.held_out_coarse import HeldOutCoarse
from itr_deploy.evaluation.tuning.pipeline import write_defaults
from itr_deploy.evaluation.tuning.projection import Fitted, Trial, fit_projection
from itr_deploy.evaluation.tuning.widths import Widths, cheapest, measured_cost
from itr_deploy.runtime.matcher import Matcher
from itr_deploy.runtime.projection import PLAIN

ProjectionChoice = Literal["auto", "none"]


@dataclass(frozen=True)
class Tuned:
    """What was found for queries of one modality.

    Attributes:
        items: Items of the split they search.
        prefilter: The width of the prefilter's shortlist, None for no prefilter, grown as asked.
        width: That of the matcher's.
        share: Share of the exhaustive top 10 that they keep before they are grown, of queries that
            the projection was not fitted to.
        prefilter_before: The widths that the bundle had.
        before: That of the matcher's, None for every item.
        share_before: Their share.
        projection: The projection that was tried, None where none was.
    """

    items: int
    prefilter: int | None
    width: int
    share: float
    prefilter_before: int | None
    before: int | None
    share_before: float
    projection: Trial | None


def tune(
    matcher: Matcher,
    split: Split,
    target: float,
    work: Path,
    bar: Bar = QUIET,
    projection: ProjectionChoice = "auto",
    growth: float = 1.0,
) -> dict[Modality, Tuned]:
    """Find a projection and the widths on a split and make them the bundle's defaults.

    A projection is taken in a direction where it clearly beats the plain coarse embeddings on
    items that it was not fitted to. Of a bundle with a prefilter the widths are those of both
    shortlists that cost a query least, by the time that a pair takes here; of another the smallest
    width.

    Scores every pair of the split; stopped or killed, the same call goes on from there. The
    scores of an evaluation in ``work`` that was made with ``save_scores`` are taken as they are.

    Args:
        matcher: The bundle, loaded.
        split: The data: a gallery as large as those that will be searched tells most.
        target: Share of the exhaustive top 10 to keep, above 0 to 1.
        work: Directory of the scores, removed at the end if it was made here.
        bar: Told of the progress.
        projection: ``"none"`` leaves the coarse embeddings as they are, and removes a projection
            that the bundle has.
        growth: How many times the split's items the galleries have that will be searched; the
            widths are made so many times as large.

    Raises:
        InputError: The data does not fit the bundle, or ``work`` has scores of something else.
        OutputError: ``work`` holds other files; the bundle or the disk refuses.
        UsageError: ``growth`` is below 1 or not finite.
    """
    if not 1 <= growth < math.inf:
        raise UsageError(f"growth={growth!r} must be a finite number, at least 1")
    check_evaluation_output(work, force=False)
    saved_before = (work / REPORT).exists()
    items, pipeline = SplitItems(matcher, split), matcher.bundle.manifest.pipeline
    matrix, before, _ = split_scores(items, work / SCORES, Options(), bar)
    data = SplitScores(matrix.plane(), before, split.answers)
    first, first_before = None, (work / PREFILTER).exists()
    if matcher.prefilter is not None:
        first = prefilter_scores(items, work / PREFILTER, False, bar)
    fitted = Fitted(PLAIN, (PLAIN, PLAIN), {})
    if projection == "auto":
        bar.step("fitting a projection")
        fitted = fit_projection(data)
    held_out = data.by(HeldOutCoarse(before.root, fitted.halves, split.answers))
    bar.step("choosing widths")
    widths_before = cascade_widths(pipeline, before)
    found: dict[Modality, Tuned] = {}
    widths: dict[Modality, Widths] = {}
    for query in MODALITIES:
        lists = shortlists(held_out, query, [], exhaustive=True)
        least = lists.smallest_width(target)
        chosen = Widths(None, least, lists.share(least))
        wide, narrow = widths_before[query], pipeline.width(query)
        order = None
        if first is not None:
            chosen = cheapest(
                lists, held_out, query, first.plane(), target, measured_cost(items, query)
            )
            if wide is not None:
                order = prefiltered_order(before, first.plane(), query, wide)
        old = shortlists(data, query, [], exhaustive=True, order=order)
        grown = widths[query] = chosen.grown(growth)
        found[query] = Tuned(
            *(lists.items, grown.prefilter, grown.candidates, grown.share),
            *(None if first is None else wide, narrow),
            1.0 if narrow is None else old.share(narrow),
            fitted.trials.get(query),
        )
    write_defaults(matcher.bundle, widths, fitted.projection)
    with output_errors(work):
        remove_embeddings(work / SCORES)
        if first is not None and not (saved_before and first_before):
            first.remove()
        if not saved_before:
            matrix.remove()
            if not any(work.iterdir()):
                work.rmdir()
    return found
