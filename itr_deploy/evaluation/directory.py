"""The directory of an evaluation: what is in it, and when it may be written to."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from itr_deploy.bundle.leftovers import files_below
from itr_deploy.bundle.staging import check_output, check_writable
from itr_deploy.errors import OutputError
from itr_deploy.evaluation.report.model import EvaluationReport
from itr_deploy.evaluation.scores.coarse import EMBEDDINGS
from itr_deploy.evaluation.scores.matrix import FILES

REPORT = "evaluation.json"
PAGE = "report.html"
SCORES = "scores"
BASELINE = "baseline"
PREFILTER = "prefilter"
REFINE = "refine"


def check_evaluation_output(output: Path, *, force: bool) -> None:
    """Refuse, before any work, an output that holds other files or cannot be written.

    Raises:
        OutputError: It does, or it cannot.
    """
    ours = is_only_an_evaluation(output)
    check_output(output, force=force or ours, replaceable=is_only_an_evaluation, kind="evaluation")
    check_writable(output, output)


def finished(output: Path, request: str, *, force: bool) -> EvaluationReport | None:
    """The report of a finished evaluation that was asked for the same.

    Args:
        output: Directory of the evaluation.
        request: Digest of what is asked for, as in the report.
        force: Whether the evaluation is to be replaced.

    Returns:
        None where there is no report, or where it is to be replaced.

    Raises:
        OutputError: The directory holds a finished evaluation of something else.
    """
    if force or not (output / REPORT).exists():
        return None
    with suppress(OSError, ValueError):
        report = EvaluationReport.model_validate_json((output / REPORT).read_bytes())
        if report.request == request:
            return report
    raise OutputError(
        f"{output} holds a finished evaluation of another bundle, data or options, or of an older "
        "itr-deploy; give force=True (--force) to replace it, or another output (--output)"
    )


def is_only_an_evaluation(path: Path) -> bool:
    """Whether a directory holds an evaluation, finished or not, and nothing else."""
    if not path.is_dir():
        return False
    names = (*FILES, *EMBEDDINGS.values())
    roots = (SCORES, BASELINE, PREFILTER, REFINE)
    own = {REPORT, PAGE, *(f"{root}/{name}" for root in roots for name in names)}
    files = set(files_below(path))
    return bool(files) and files <= own


def remove_embeddings(root: Path) -> None:
    """Remove the coarse embeddings; they are quick to make again."""
    for name in EMBEDDINGS.values():
        (root / name).unlink(missing_ok=True)
