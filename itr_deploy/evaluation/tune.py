"""The shortlist's smallest widths that keep a share of the exhaustive top 10, into the bundle."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from itr_deploy.bundle.files import output_errors
from itr_deploy.bundle.manifest import Modality, Pipeline
from itr_deploy.bundle.staging import check_output
from itr_deploy.bundle.store import write_manifest
from itr_deploy.evaluation.dataset import Split
from itr_deploy.evaluation.evaluate import split_scores
from itr_deploy.evaluation.options import Options
from itr_deploy.evaluation.output import REPORT, SCORES, is_only_an_evaluation, remove_embeddings
from itr_deploy.evaluation.progress import QUIET, Bar
from itr_deploy.evaluation.shortlist import shortlists
from itr_deploy.evaluation.stages import DIRECTIONS
from itr_deploy.runtime.matcher import Matcher


@dataclass(frozen=True)
class Tuned:
    """What was found for queries of one modality.

    Attributes:
        items: Items of the gallery they search.
        width: The shortlist's smallest width.
        share: Share of the exhaustive top 10 that it keeps.
        before: The width that the bundle had, None for every item.
        share_before: Its share.
    """

    items: int
    width: int
    share: float
    before: int | None
    share_before: float


def tune(
    matcher: Matcher, split: Split, target: float, work: Path, bar: Bar = QUIET
) -> dict[Modality, Tuned]:
    """Find the widths on a split and make them the bundle's defaults.

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
    found: dict[Modality, Tuned] = {}
    for query in DIRECTIONS:
        per = split.captions_per_image
        lists = shortlists(matrix.plane(), coarse, query, per, [], exhaustive=True)
        width, before = lists.smallest_width(target), pipeline.width(query)
        share_before = 1.0 if before is None else lists.share(before)
        found[query] = Tuned(lists.items, width, lists.share(width), before, share_before)
    write_widths(matcher, found["text"].width, found["image"].width)
    with output_errors(work):
        remove_embeddings(work / SCORES)
        if not saved_before:
            matrix.remove()
            if not any(work.iterdir()):
                work.rmdir()
    return found


def write_widths(matcher: Matcher, text: int, image: int) -> None:
    """Make these the shortlist's widths for text and image queries, in the bundle's manifest.

    Nothing that decides scores or encodings changes: galleries stay valid.

    Raises:
        OutputError: The bundle cannot be written.
    """
    bundle = matcher.bundle
    changes = {"candidates": text, "image_query_candidates": image if image != text else None}
    pipeline = Pipeline.model_validate({**bundle.manifest.pipeline.model_dump(), **changes})
    write_manifest(bundle.path, bundle.manifest.model_copy(update={"pipeline": pipeline}))
