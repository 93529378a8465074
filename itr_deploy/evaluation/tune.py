"""The cheapest widths of a search that keep a share of the exhaustive top 10, into the bundle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from itr_deploy.bundle.files import output_errors
from itr_deploy.bundle.manifest import Modality, Pipeline
from itr_deploy.bundle.staging import check_output
from itr_deploy.bundle.store import write_manifest
from itr_deploy.evaluation.cascade import cascade_widths, prefilter_scores
from itr_deploy.evaluation.dataset import Split
from itr_deploy.evaluation.evaluate import split_scores
from itr_deploy.evaluation.items import SplitItems
from itr_deploy.evaluation.options import Options
from itr_deploy.evaluation.output import (
    PREFILTER,
    REPORT,
    SCORES,
    is_only_an_evaluation,
    remove_embeddings,
)
from itr_deploy.evaluation.progress import QUIET, Bar
from itr_deploy.evaluation.shortlist import prefiltered_order, shortlists
from itr_deploy.evaluation.stages import DIRECTIONS
from itr_deploy.evaluation.widths import Widths, cheapest, measured_cost
from itr_deploy.runtime.matcher import Matcher


@dataclass(frozen=True)
class Tuned:
    """What was found for queries of one modality.

    Attributes:
        items: Items of the gallery they search.
        prefilter: The width of the prefilter's shortlist, None for no prefilter.
        width: That of the matcher's.
        share: Share of the exhaustive top 10 that they keep.
        prefilter_before: The widths that the bundle had.
        before: That of the matcher's, None for every item.
        share_before: Their share.
    """

    items: int
    prefilter: int | None
    width: int
    share: float
    prefilter_before: int | None
    before: int | None
    share_before: float


def tune(
    matcher: Matcher, split: Split, target: float, work: Path, bar: Bar = QUIET
) -> dict[Modality, Tuned]:
    """Find the widths on a split and make them the bundle's defaults.

    Of a bundle with a prefilter they are those of both shortlists that cost a query least, by the
    time that a pair takes here; of another the smallest width.

    Scores every pair of the split; stopped or killed, the same call goes on from there. The
    scores of an evaluation in ``work`` that was made with ``save_scores`` are taken as they are.

    Args:
        matcher: The bundle, loaded.
        split: The data: a gallery as large as those that will be searched tells most.
        target: Share of the exhaustive top 10 to keep, above 0 to 1.
        work: Directory of the scores, removed at the end if it was made here.
        bar: Told of the progress.

    Raises:
        InputError: The data does not fit the bundle, or ``work`` has scores of something else.
        OutputError: ``work`` holds other files; the bundle or the disk refuses.
    """
    if not is_only_an_evaluation(work):
        check_output(work, force=False, replaceable=is_only_an_evaluation, kind="evaluation")
    saved_before = (work / REPORT).exists()
    matrix, coarse, _ = split_scores(matcher, split, work / SCORES, Options(), bar)
    pipeline = matcher.bundle.manifest.pipeline
    first, first_before = None, (work / PREFILTER).exists()
    if matcher.prefilter is not None:
        first = prefilter_scores(matcher, split, work / PREFILTER, False, bar)
    items, widths_before = SplitItems(matcher, split), cascade_widths(pipeline, coarse)
    found: dict[Modality, Tuned] = {}
    for query in DIRECTIONS:
        data = matrix.plane(), coarse, query, split.captions_per_image
        lists = old = shortlists(*data, [], exhaustive=True)
        least = lists.smallest_width(target)
        chosen = Widths(None, least, lists.share(least))
        wide, before = widths_before[query], pipeline.width(query)
        if first is not None:
            chosen = cheapest(lists, *data, first.plane(), target, measured_cost(items, query))
            if wide is not None:
                order = prefiltered_order(coarse, first.plane(), query, wide)
                old = shortlists(*data, [], exhaustive=True, order=order)
        share_before = 1.0 if before is None else old.share(before)
        found[query] = Tuned(
            *(lists.items, chosen.prefilter, chosen.candidates, chosen.share),
            *(None if first is None else wide, before, share_before),
        )
    write_widths(matcher, found)
    with output_errors(work):
        remove_embeddings(work / SCORES)
        if first is not None and not (saved_before and first_before):
            first.remove()
        if not saved_before:
            matrix.remove()
            if not any(work.iterdir()):
                work.rmdir()
    return found


def write_widths(matcher: Matcher, found: Mapping[Modality, Tuned]) -> None:
    """Make these the widths for text and image queries, in the bundle's manifest.

    Nothing that decides scores or encodings changes: galleries stay valid.

    Raises:
        OutputError: The bundle cannot be written.
    """
    bundle = matcher.bundle
    text, image = found["text"], found["image"]
    # A width of its own that is not above the matcher's leaves the prefilter out.
    wide = image.prefilter or (image.width if text.prefilter else None)
    changes = {
        "candidates": text.width,
        "image_query_candidates": image.width if image.width != text.width else None,
        "prefilter": text.prefilter,
        "image_query_prefilter": wide if wide != text.prefilter else None,
    }
    pipeline = Pipeline.model_validate({**bundle.manifest.pipeline.model_dump(), **changes})
    write_manifest(bundle.path, bundle.manifest.model_copy(update={"pipeline": pipeline}))
