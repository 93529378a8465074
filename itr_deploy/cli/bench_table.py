"""The tables of a benchmark."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from itr_deploy.cli.output import print_table

if TYPE_CHECKING:
    from itr_deploy.benchmarking.report import (
        BenchReport,
        OperatorFigures,
        PlainFigures,
        SearchFigures,
    )

OPERATORS = 12
"""Number of operators that are printed; the report has all."""


def print_benchmark(report: BenchReport) -> None:
    """Print the figures of a benchmark's report."""
    bundle, gallery = report.bundle, report.gallery
    typer.echo(
        f"{bundle.family} {bundle.precision}, {gallery.items:,} {gallery.modality}s "
        f"{gallery.place} ({_size(gallery.stored_bytes)}), {report.query} queries, "
        f"{report.searches[0].backend}"
    )
    typer.echo(
        f"gallery: {gallery.files:,} files, {gallery.versions:,} versions, items in "
        f"{gallery.fragments:,} parts, {gallery.deleted_share:.0%} of them deleted"
    )
    for entry in report.searches:
        _print_setting(entry)
    _print_process(report)
    if report.baseline is not None:
        _print_baseline(report.baseline)
    if report.trace is not None:
        for graph, rows in report.trace.operators.items():
            _print_operators(graph, rows)


def _print_setting(entry: SearchFigures) -> None:
    whole = entry.milliseconds["total"].mean
    print_table(
        f"{entry.setting}: {entry.queries_per_second:,.1f} queries/s, "
        f"{entry.pairs_per_second:,.0f} pairs/s while matching",
        ("ms", "p50", "p95", "p99", "mean", "share"),
        (
            [
                name,
                *(f"{value:.2f}" for value in (found.p50, found.p95, found.p99, found.mean)),
                f"{found.mean / whole:.0%}",
            ]
            for name, found in entry.milliseconds.items()
        ),
    )


def _print_process(report: BenchReport) -> None:
    cold = report.cold_start
    rows = [(name.replace("_", " "), f"{seconds:.2f} s") for name, seconds in cold.seconds.items()]
    print_table(
        f"cold start, median of {cold.processes} fresh processes",
        ("", ""),
        [
            *rows,
            ("its peak memory", _size(cold.peak_memory)),
            ("peak memory of all of this", _size(report.peak_memory)),
        ],
    )


def _print_baseline(baseline: PlainFigures) -> None:
    taken, ratios = baseline.milliseconds, baseline.ratios
    print_table(
        f"one query over {baseline.items:,} items, {baseline.backend}",
        ("", "ms", "plain : this"),
        [
            ("plain model, which encodes the items too", f"{taken.plain:.1f}", ""),
            ("search", f"{taken.search:.1f}", f"{ratios.search:.1f}"),
            ("exhaustive search", f"{taken.exhaustive:.1f}", f"{ratios.exhaustive:.1f}"),
        ],
    )


def _print_operators(graph: str, rows: tuple[OperatorFigures, ...]) -> None:
    print_table(
        f"operators of {graph}",
        ("operator", "calls", "ms", "share"),
        (
            [row.operator, str(row.calls), f"{row.milliseconds:.1f}", f"{row.share:.1%}"]
            for row in rows[:OPERATORS]
        ),
    )


def _size(count: int | None) -> str:
    return "not known here" if count is None else f"{count / 1e6:,.0f} MB"
