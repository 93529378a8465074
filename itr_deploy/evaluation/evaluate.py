"""One evaluation: the scores of a split, the field's figures of them, and their report."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from itr_deploy.bundle.files import write_json
from itr_deploy.bundle.staging import check_output
from itr_deploy.evaluation.dataset import Split
from itr_deploy.evaluation.matrix import FILES, ScoreMatrix
from itr_deploy.evaluation.memory import peak_memory
from itr_deploy.evaluation.recall import Recall, fold_slices, mean_recall, ranks, recall
from itr_deploy.evaluation.scores import (
    BundleScorer,
    data_digest,
    fill,
    open_matrix,
    scoring_digest,
)
from itr_deploy.runtime.matcher import Matcher

REPORT = "evaluation.json"
SCORES = "scores"
SCHEMA = 1


@dataclass(frozen=True)
class Bar:
    """What a progress bar is told: how many pairs there are, then how many are done."""

    start: Callable[[int, int], object] = lambda total, done: None
    update: Callable[[int], object] = lambda done: None


@dataclass(frozen=True)
class Options:
    """What an evaluation computes, and what it leaves.

    Attributes:
        folds: Equal folds of consecutive images to average over as well, 1 for none.
        save_scores: Keep the score matrix; another evaluation of the same bundle and data, with
            ``force``, then takes it as it is.
        force: Replace a finished evaluation.
    """

    folds: int = 1
    save_scores: bool = False
    force: bool = False


def evaluate(
    matcher: Matcher, split: Split, output: Path, options: Options, bar: Bar | None = None
) -> dict[str, Any]:
    """Score every image with every caption and write the figures.

    Stopped or killed, it leaves the tiles it has finished, and the same call goes on from there.
    Memory is bounded by the matcher's budget, whatever the split's size; what grows with it are
    the captions, their token ids and ranks, and vectors of a few numbers an item.

    Args:
        matcher: The bundle, loaded.
        split: The data.
        output: Directory of the report, `REPORT` in it.
        options: What to compute and leave.
        bar: Told of the progress, in pairs.

    Returns:
        The report, as it was written.

    Raises:
        InputError: The data does not fit the bundle, or ``output`` has scores of something else.
        OutputError: ``output`` is there and finished, or not an evaluation; the disk refuses.
        UsageError: The folds do not divide the images.
    """
    per = split.captions_per_image
    fold_slices(len(split.regions), options.folds, per)
    check_unfinished(output, force=options.force)
    saved_before = (output / REPORT).exists()
    began = time.monotonic()
    matrix, scored = exhaustive_scores(matcher, split, output, options, bar or Bar())
    seconds = time.monotonic() - began
    found = exhaustive_figures(matrix, per, options.folds)
    report = {
        "schema_version": SCHEMA,
        "bundle": describe_bundle(matcher),
        "data": describe_data(split),
        **found,
        "run": {
            "pairs_scored": scored,
            "pairs_taken_over": matrix.done - scored,
            "scoring_seconds": round(seconds, 3),
            "peak_memory_bytes": peak_memory(),
            "backend": matcher.backend.description,
        },
    }
    write_json(output / REPORT, report)
    if not options.save_scores and not (saved_before and scored == 0):
        matrix.remove()
    return report


def exhaustive_scores(
    matcher: Matcher, split: Split, output: Path, options: Options, bar: Bar
) -> tuple[ScoreMatrix, int]:
    """The complete score matrix of a split, and how many pairs were scored for it now."""
    scorer = BundleScorer(matcher, split)
    identity = {"bundle": scoring_digest(matcher.bundle.manifest), "data": data_digest(split)}
    matrix = open_matrix(output / SCORES, identity, scorer, force=options.force)
    before = matrix.done
    bar.start(matrix.grid.rows * matrix.grid.columns, before)
    fill(matrix, scorer, bar.update)
    return matrix, matrix.done - before


def exhaustive_figures(matrix: ScoreMatrix, per: int, folds: int) -> dict[str, Any]:
    """Recall over all images, and with several folds over each and their mean."""
    scores = matrix.plane()
    report: dict[str, Any] = {"recall": recall(ranks(scores, per)).to_json()}
    if folds > 1:
        each = [
            recall(ranks(scores[rows, columns], per))
            for rows, columns in fold_slices(matrix.grid.rows, folds, per)
        ]
        report["folds"] = folds_json(each)
    return report


def folds_json(each: list[Recall]) -> dict[str, Any]:
    """The mean of folds, and every one."""
    return {
        "count": len(each),
        "mean": mean_recall(each).to_json(),
        "each": [fold.to_json() for fold in each],
    }


def check_unfinished(output: Path, *, force: bool) -> None:
    """Refuse an output that is finished, or not an evaluation's.

    Raises:
        OutputError: It is.
    """
    unfinished = is_only_an_evaluation(output) and not (output / REPORT).exists()
    if not unfinished:
        check_output(output, force=force, replaceable=is_only_an_evaluation, kind="evaluation")


def is_only_an_evaluation(path: Path) -> bool:
    """Whether a directory holds an evaluation, finished or not, and nothing else."""
    if not path.is_dir():
        return False
    own = {REPORT, *(f"{SCORES}/{name}" for name in FILES)}
    files = {entry.relative_to(path).as_posix() for entry in path.rglob("*") if entry.is_file()}
    return bool(files) and files <= own


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
