"""The directory of an evaluation: what is in it, and when it may be written to."""

from __future__ import annotations

from pathlib import Path

from itr_deploy.bundle.staging import check_output
from itr_deploy.evaluation.scores.coarse import EMBEDDINGS
from itr_deploy.evaluation.scores.matrix import FILES

REPORT = "evaluation.json"
PAGE = "report.html"
SCORES = "scores"
BASELINE = "baseline"
PREFILTER = "prefilter"


def check_unfinished(output: Path, *, force: bool) -> None:
    """Check that an output is new or an unfinished evaluation, or that it may be replaced.

    Raises:
        OutputError: It is finished and ``force`` is not set, or it is not an evaluation's.
    """
    unfinished = is_only_an_evaluation(output) and not (output / REPORT).exists()
    if not unfinished:
        check_output(output, force=force, replaceable=is_only_an_evaluation, kind="evaluation")


def is_only_an_evaluation(path: Path) -> bool:
    """Whether a directory holds an evaluation, finished or not, and nothing else."""
    if not path.is_dir():
        return False
    names = (*FILES, *EMBEDDINGS.values())
    roots = (SCORES, BASELINE, PREFILTER)
    own = {REPORT, PAGE, *(f"{root}/{name}" for root in roots for name in names)}
    files = {entry.relative_to(path).as_posix() for entry in path.rglob("*") if entry.is_file()}
    return bool(files) and files <= own


def remove_embeddings(root: Path) -> None:
    """Remove the coarse embeddings; they are quick to make again."""
    for name in EMBEDDINGS.values():
        (root / name).unlink(missing_ok=True)
