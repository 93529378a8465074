"""The tables of a benchmark."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import typer

from itr_deploy.benchmarking.picture import setting_name
from itr_deploy.cli.output import print_table

OPERATORS = 12
"""Operators that are printed; the report has all."""


def print_benchmark(report: Mapping[str, Any]) -> None:
    """Print what `itr_deploy.benchmarking.benchmark.benchmark` returned."""
    gallery = report["gallery"]
    place = "in memory" if gallery["resident"] else "on disk"
    typer.echo(
        f"{report['bundle']['family']} {report['bundle']['precision']}, "
        f"{gallery['items']:,} {gallery['modality']}s {place} "
        f"({_size(gallery['stored_bytes'])}), {report['query']} queries, "
        f"{report['searches'][0]['backend']}"
    )
    for entry in report["searches"]:
        _print_setting(entry)
    _print_process(report)
    if "baseline" in report:
        _print_baseline(report["baseline"])
    for graph, rows in report.get("trace", {}).get("operators", {}).items():
        _print_operators(graph, rows)


def _print_setting(entry: Mapping[str, Any]) -> None:
    figures, whole = entry["milliseconds"], entry["milliseconds"]["total"]["mean"]
    print_table(
        f"{setting_name(entry)}: {entry['queries_per_second']:,.1f} queries/s, "
        f"{entry['pairs_per_second']:,.0f} pairs/s while matching",
        ("ms", "p50", "p95", "p99", "mean", "share"),
        (
            [
                name,
                *(f"{found[key]:.2f}" for key in ("p50", "p95", "p99", "mean")),
                f"{found['mean'] / whole:.0%}",
            ]
            for name, found in figures.items()
        ),
    )


def _print_process(report: Mapping[str, Any]) -> None:
    cold = report["cold_start"]
    rows = [
        (name.replace("_", " "), f"{seconds:.2f} s") for name, seconds in cold["seconds"].items()
    ]
    print_table(
        f"cold start, median of {cold['processes']} fresh processes",
        ("", ""),
        [
            *rows,
            ("its peak memory", _size(cold["peak_memory"])),
            ("peak memory of all of this", _size(report["peak_memory"])),
        ],
    )


def _print_baseline(baseline: Mapping[str, Any]) -> None:
    taken, ratios = baseline["milliseconds"], baseline["ratios"]
    print_table(
        f"one query over {baseline['items']:,} items, {baseline['backend']}",
        ("", "ms", "plain : this"),
        [
            ("plain model, which encodes the items too", f"{taken['plain']:.1f}", ""),
            ("search", f"{taken['search']:.1f}", f"{ratios['search']:.1f}"),
            ("exhaustive search", f"{taken['exhaustive']:.1f}", f"{ratios['exhaustive']:.1f}"),
        ],
    )


def _print_operators(graph: str, rows: list[dict[str, Any]]) -> None:
    print_table(
        f"operators of {graph}",
        ("operator", "calls", "ms", "share"),
        (
            [
                row["operator"],
                str(row["calls"]),
                f"{row['milliseconds']:.1f}",
                f"{row['share']:.1%}",
            ]
            for row in rows[:OPERATORS]
        ),
    )


def _size(count: int | None) -> str:
    return "not known here" if count is None else f"{count / 1e6:,.0f} MB"
