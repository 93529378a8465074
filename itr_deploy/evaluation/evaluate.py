"""One evaluation: the scores of a split, the field's figures of them, and their report."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from itr_deploy.bundle.files import output_errors, write_file, write_json
from itr_deploy.errors import UsageError
from itr_deploy.evaluation.baseline import baseline_scores, compare_scores
from itr_deploy.evaluation.bundle_scores import BundleScorer, ShortlistScorer
from itr_deploy.evaluation.coarse import Coarse
from itr_deploy.evaluation.dataset import Split
from itr_deploy.evaluation.items import SplitItems
from itr_deploy.evaluation.matrix import ScoreMatrix
from itr_deploy.evaluation.memory import peak_memory
from itr_deploy.evaluation.options import Options
from itr_deploy.evaluation.output import (
    BASELINE,
    PAGE,
    REPORT,
    SCORES,
    check_unfinished,
    remove_embeddings,
)
from itr_deploy.evaluation.page import page
from itr_deploy.evaluation.pictures import Pictures
from itr_deploy.evaluation.progress import QUIET, Bar
from itr_deploy.evaluation.recall import Recall, fold_slices, mean_recall, ranks, recall
from itr_deploy.evaluation.scores import fill, resume_matrix, scoring_digest
from itr_deploy.evaluation.stages import DIRECTIONS, Staged, staged
from itr_deploy.runtime.matcher import Matcher

SCHEMA = 1


def evaluate(
    matcher: Matcher, split: Split, output: Path, options: Options, bar: Bar = QUIET
) -> dict[str, Any]:
    """Score a split's images with its captions and write the figures.

    Stopped or killed, it leaves the tiles it has finished, and the same call goes on from there.
    Memory is bounded by the matcher's budget, whatever the split's size; what grows with it are
    the captions, their token ids and some ranks a query.

    Args:
        matcher: The bundle, loaded.
        split: The data.
        output: Directory of the report; `REPORT` appears in it last.
        options: What to compute and leave.
        bar: Told of the progress, in pairs.

    Returns:
        The report, as it was written.

    Raises:
        InputError: The data does not fit the bundle, or ``output`` has scores of something else.
        OutputError: ``output`` is there and finished, or not an evaluation; the disk refuses.
        UsageError: The folds do not divide the images, or go with a shortlist.
    """
    per = split.captions_per_image
    if options.folds > 1 and options.candidates is not None:
        raise UsageError("folds search parts of the split; give them without a shortlist")
    if options.baseline is not None and options.candidates is not None:
        raise UsageError("a baseline is compared on every pair; give it without a shortlist")
    fold_slices(len(split.regions), options.folds, per)
    pictures = Pictures(options.images, split.image_ids)
    check_unfinished(output, force=options.force)
    saved_before = (output / REPORT).exists()

    began = time.monotonic()
    matrix, coarse, scored = split_scores(matcher, split, output / SCORES, options, bar)
    seconds = time.monotonic() - began
    found, stages = figures(matrix, coarse, matcher, per, options)
    run = {
        "pairs_scored": scored,
        "scoring_seconds": round(seconds, 3),
        "peak_memory_bytes": peak_memory(),
        "backend": matcher.backend.description,
    }
    matrices = [matrix]
    if options.baseline is not None:
        other = baseline_scores(options.baseline, split, output / BASELINE, options.force, bar)
        matrices.append(other)
        found["baseline"] = compare_scores(
            options.baseline.name, matrix.plane(), other.plane(), per, options.folds
        )
    report = {
        "schema_version": SCHEMA,
        "bundle": describe_bundle(matcher),
        "data": describe_data(split),
        **found,
        "run": run,
    }
    write_file(output / PAGE, page(report, stages, split, pictures))
    write_json(output / REPORT, report)
    with output_errors(output):
        remove_embeddings(output / SCORES)
        if not options.save_scores and not (saved_before and scored == 0):
            for entry in matrices:
                entry.remove()
    return report


def split_scores(
    matcher: Matcher, split: Split, root: Path, options: Options, bar: Bar
) -> tuple[ScoreMatrix, Coarse, int]:
    """A split's scores and coarse embeddings in ``root``, and how many pairs were scored now."""
    items = SplitItems(matcher, split)
    bar.step("reading the data")
    identity = {
        "bundle": scoring_digest(matcher.bundle.manifest),
        "data": split.digest(),
        "shortlist": "" if options.candidates is None else str(options.candidates),
    }
    begun = resume_matrix(root, identity, force=options.force)
    bar.step("encoding")
    coarse = Coarse.encode(items, root)
    scorer = BundleScorer(items)
    if options.candidates is not None:
        scorer = ShortlistScorer(items, coarse, options.candidates)
    matrix = begun or ScoreMatrix.create(root, identity, scorer.grid, scorer.planes)
    fill(matrix, scorer, bar, "scoring pairs")
    return matrix, coarse, scorer.scored


def figures(
    matrix: ScoreMatrix, coarse: Coarse, matcher: Matcher, per: int, options: Options
) -> tuple[dict[str, Any], Staged]:
    """The report's figures, and the stages they are of."""
    scores = matrix.plane()
    exhaustive = ranks(scores, per) if options.candidates is None else None
    pipeline = matcher.bundle.manifest.pipeline
    widths = {query: options.candidates or pipeline.width(query) for query in DIRECTIONS}
    stages = staged(scores, coarse, per, exhaustive=exhaustive, widths=widths)
    best = stages.stages[-1]
    report: dict[str, Any] = {
        "scoring": "exhaustive" if exhaustive is not None else f"shortlist of {options.candidates}",
        "recall": recall(best.ranks).to_json(),
        "stages": [stage.to_json() for stage in stages.stages],
        "shortlists": {
            name: stages.by_query[query].to_json() for query, name in DIRECTIONS.items()
        },
    }
    if options.folds > 1:
        parts = fold_slices(matrix.grid.rows, options.folds, per)
        report["folds"] = folds_json([recall(ranks(scores[part], per)) for part in parts])
    return report, stages


def folds_json(each: list[Recall]) -> dict[str, Any]:
    """The mean of folds, and every one."""
    return {
        "count": len(each),
        "mean": mean_recall(each).to_json(),
        "each": [fold.to_json() for fold in each],
    }


def describe_bundle(matcher: Matcher) -> dict[str, Any]:
    """Which bundle was evaluated."""
    manifest = matcher.bundle.manifest
    return {
        "path": str(matcher.bundle.path),
        "family": manifest.family,
        "options": manifest.options,
        "members": [member.family for member in manifest.members],
        "encoding_id": manifest.encoding_id,
        "checkpoint": manifest.provenance.checkpoint,
    }


def describe_data(split: Split) -> dict[str, Any]:
    """Which data it was evaluated on."""
    return {
        "split": split.name,
        "images": len(split.regions),
        "captions": len(split.captions),
        "captions_per_image": split.captions_per_image,
    }
