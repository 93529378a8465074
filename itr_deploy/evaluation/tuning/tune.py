"""Finds the cheapest search that keeps a share of the exhaustive top 10, for the bundle."""

from __future__ import annotations

import logging
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
    REFINE,
    REPORT,
    SCORES,
    check_evaluation_output,
    remove_embeddings,
)
from itr_deploy.evaluation.evaluate import split_scores
from itr_deploy.evaluation.measures.prefilter import (
    Cascade,
    cascade_widths,
    prefilter_scores,
    refine_scores,
    refine_widths,
)
from itr_deploy.evaluation.measures.shortlist import shortlists
from itr_deploy.evaluation.options import Options
from itr_deploy.evaluation.progress import QUIET, Bar
from itr_deploy.evaluation.scores.matrix import PLAN
from itr_deploy.evaluation.scores.split_encoder import SplitItems
from itr_deploy.evaluation.scores.split_scores import SplitScores
from itr_deploy.evaluation.tuning.held_out_coarse import HeldOutCoarse
from itr_deploy.evaluation.tuning.pipeline import write_defaults
from itr_deploy.evaluation.tuning.projection import Fitted, Trial, fit_projection
from itr_deploy.evaluation.tuning.widths import Widths, cheapest, measured_cost
from itr_deploy.runtime.matcher import Matcher
from itr_deploy.runtime.projection import PLAIN

log = logging.getLogger(__name__)

ProjectionChoice = Literal["auto", "none"]


@dataclass(frozen=True)
class Tuned:
    """What was found for queries of one modality.

    Attributes:
        items: Number of the split's items that they search.
        prefilter: Width of the prefilter's shortlist, None for no prefilter, multiplied by
            ``growth``.
        width: Width of the matcher's shortlist, multiplied by ``growth``.
        share: Share of the exhaustive top 10 that these keep before the multiplication, for queries
            that the projection was not fitted to.
        prefilter_before: The bundle's previous width of the prefilter's shortlist.
        before: Its previous width of the matcher's shortlist, None for every item.
        share_before: The share that the previous widths keep.
        projection: The projection that was tried, None if none was.
        refine: Width of the refiner's shortlist, None for no refiner, multiplied by ``growth``.
        refine_before: The bundle's previous width of the refiner's shortlist.
    """

    items: int
    prefilter: int | None
    width: int
    share: float
    prefilter_before: int | None
    before: int | None
    share_before: float
    projection: Trial | None
    refine: int | None = None
    refine_before: int | None = None


def tune(
    matcher: Matcher,
    split: Split,
    target: float,
    work: Path,
    bar: Bar = QUIET,
    projection: ProjectionChoice = "auto",
    growth: float = 1.0,
) -> dict[Modality, Tuned]:
    """Find a projection and widths on a split and make them the bundle's defaults.

    A direction gets a projection if it clearly beats the plain coarse embeddings on items that it
    was not fitted to. If the bundle has a prefilter, the widths are those of all shortlists with
    the lowest cost per query, by the time that a pair takes on this machine; if not, the smallest
    width.

    Scores every pair of the split. If stopped or killed, the same call resumes there. Scores of an
    evaluation in ``work`` that was made with ``save_scores`` are reused.

    Args:
        matcher: The bundle, loaded.
        split: The data; best a gallery as large as those that will be searched.
        target: Share of the exhaustive top 10 to keep, above 0 and at most 1.
        work: Directory of the scores, removed at the end if this call made it.
        bar: Receives the progress.
        projection: ``"none"`` uses the plain coarse embeddings and removes a projection that the
            bundle has.
        growth: How many times as many items as the split the galleries to be searched have; the
            widths are multiplied by it.

    Returns:
        The result for each query modality; empty for a dual encoder, which has no shortlist.

    Raises:
        InputError: The data does not fit the bundle, or ``work`` has scores of something else.
        OutputError: ``work`` holds other files, or the bundle or the disk cannot be written.
        UsageError: ``growth`` is below 1 or not finite.
    """
    if not 1 <= growth < math.inf:
        raise UsageError(f"growth={growth!r} must be a finite number, at least 1")
    check_evaluation_output(work, force=False)
    if matcher.bundle.manifest.is_dual_encoder:
        log.warning(
            "%s: a dual encoder, whose search scores every item by one product: nothing to tune",
            matcher.bundle.path,
        )
        return {}
    saved_before = (work / REPORT).exists() and (work / SCORES / PLAN).exists()
    items, pipeline = SplitItems(matcher, split), matcher.bundle.manifest.pipeline
    matrix, before, _ = split_scores(items, work / SCORES, Options(), bar)
    data = SplitScores(matrix.plane(), before, split.answers)
    first, first_before = None, (work / PREFILTER).exists()
    second, second_before = None, (work / REFINE).exists()
    if matcher.prefilter is not None:
        first = prefilter_scores(items, work / PREFILTER, False, bar)
        if matcher.refiner is not None:
            second = refine_scores(items, work / REFINE, False, bar)
    fitted = Fitted(PLAIN, (PLAIN, PLAIN), {})
    if projection == "auto":
        bar.step("fitting a projection")
        fitted = fit_projection(data)
    held_out = data.by(HeldOutCoarse(before.root, fitted.halves, split.answers))
    bar.step("choosing widths")
    cascade = Cascade(
        None if first is None else first.plane(),
        cascade_widths(pipeline, before),
        None if second is None else second.plane(),
        refine_widths(pipeline, before),
    )
    orders = cascade.orders(before)
    found: dict[Modality, Tuned] = {}
    widths: dict[Modality, Widths] = {}
    for query in MODALITIES:
        lists = shortlists(held_out, query, [], exhaustive=True)
        least = lists.smallest_width(target)
        chosen = Widths(None, least, lists.share(least))
        narrow = pipeline.width(query)
        if cascade.scores is not None:
            cost = measured_cost(items, query)
            chosen = cheapest(lists, held_out, query, cascade.scores, target, cost, cascade.refine)
        old = shortlists(data, query, [], exhaustive=True, order=orders.get(query))
        grown = widths[query] = chosen.grown(growth)
        found[query] = Tuned(
            *(lists.items, grown.prefilter, grown.candidates, grown.share),
            *(None if first is None else cascade.widths[query], narrow),
            1.0 if narrow is None else old.share(narrow),
            fitted.trials.get(query),
            *(grown.refine, None if second is None else cascade.refine_widths[query]),
        )
    write_defaults(matcher.bundle, widths, fitted.projection)
    with output_errors(work):
        remove_embeddings(work / SCORES)
        for part, part_before in ((first, first_before), (second, second_before)):
            if part is not None and not (saved_before and part_before):
                part.remove()
        if not saved_before:
            matrix.remove()
            if not any(work.iterdir()):
                work.rmdir()
    return found
