"""An evaluation's figures as tables."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import typer

from itr_deploy.cli.output import print_table

if TYPE_CHECKING:
    from itr_deploy.evaluation.measures.figures import Recall
    from itr_deploy.evaluation.report.model import EvaluationReport, ShortlistFigures

Three = tuple[float, float, float]

COLUMNS = ("", "R@1", "R@5", "R@10", "median", "mean rank")
SHARES = ("of the top 10", "not projected")


def print_evaluation(report: EvaluationReport) -> None:
    """Print the figures of an evaluation's report."""
    data = report.data
    size = f"{data.images} images, {data.captions} captions"
    if data.images_without_captions is not None:
        size += f", {data.images_without_captions} images without"
    _print(f"{data.split}: {size}, {report.scoring}", report.recall)
    if report.mean_with is not None:
        _print("this bundle alone", report.stages[-2].recall)
    if report.rerank is not None:
        for stage in report.stages[-3:-1]:
            _print(stage.name, stage.recall)
    if report.folds is not None:
        count = report.folds.count
        _print(f"mean of {count} folds of {data.images // count} images", report.folds.mean)
    if report.published is not None:
        _print_published(report)
    for step in report.steps or ():
        _print(f"step {step.step} alone", step.alone)
        _print(f"steps up to {step.step}", step.up_to)
    if report.baseline is not None:
        _print(report.baseline.name, report.baseline.recall)
        _print("the bundle less that", report.baseline.difference.recall)
    for direction, rows in report.all_shortlists():
        if rows:
            _print_shortlists(direction, rows)


def _print(title: str, recall: Recall) -> None:
    """One row per direction, then rSum."""
    print_table(title, COLUMNS, _rows(recall))


def _print_published(report: EvaluationReport) -> None:
    """Measured and published figures on the same test set, a table for each protocol."""
    rows, measured = report.published or (), {1: report.recall}
    if report.folds is not None:
        measured[report.folds.count] = report.folds.mean
    if not rows:
        typer.echo("no published figures of this model on this test set are at hand")
    for data in dict.fromkeys(row.data for row in rows):
        own = [row for row in rows if row.data == data]
        found = measured[own[0].folds]
        ours = found.image_to_text.recalls, found.text_to_image.recalls
        lines = [("this bundle", *_six(*ours, found.rsum))]
        lines += [
            (f"{row.model} ({row.source})", *_six(row.image_to_text, row.text_to_image, row.rsum))
            for row in own
        ]
        print_table(
            f"published, {data}: R@1, R@5, R@10",
            ("", "image to text", "text to image", "rSum"),
            lines,
        )


def _six(image: Three | None, text: Three | None, rsum: float) -> tuple[str, str, str]:
    return _three(image), _three(text), f"{rsum:.1f}"


def _three(recalls: Three | None) -> str:
    return " / ".join(f"{value:.1f}" for value in recalls or ())


def _rows(recall: Recall) -> Iterator[list[str]]:
    for direction, found in recall.named():
        recalls = (f"{value:.1f}" for value in found.recalls)
        yield [direction, *recalls, f"{found.median_rank:g}", f"{found.mean_rank:.1f}"]
    yield ["rSum", f"{recall.rsum:.1f}", "", "", "", ""]


def _print_shortlists(direction: str, rows: tuple[ShortlistFigures, ...]) -> None:
    shown = [number for number, share in enumerate(rows[0].shares) if share is not None]
    print_table(
        f"shortlists, {direction}",
        ("candidates", "R@1", "R@5", "R@10", *(SHARES[number] for number in shown)),
        (
            [
                _width(row),
                *(f"{value:.1f}" for value in row.recalls),
                *(_percent(row.shares[number]) for number in shown),
            ]
            for row in rows
        ),
    )


def _width(row: ShortlistFigures) -> str:
    refined = "" if row.refine is None else f" of {row.refine} refined"
    return f"{row.width}{refined}" + (
        "" if row.prefilter is None else f" of {row.prefilter} prefiltered"
    )


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f} %"
