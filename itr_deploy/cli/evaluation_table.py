"""An evaluation's figures as tables."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from itr_deploy.bundle.modality import DIRECTIONS, direction_title
from itr_deploy.cli.output import print_table

COLUMNS = ("", "R@1", "R@5", "R@10", "median", "mean rank")
SHARES = {"share_of_top10": "of the top 10", "share_of_top10_plain": "not projected"}


def print_evaluation(report: dict[str, Any]) -> None:
    """Print the figures of an evaluation's report."""
    data = report["data"]
    size = f"{data['images']} images, {data['captions']} captions"
    title = f"{data['split']}: {size}, {report['scoring']}"
    print_table(title, COLUMNS, recall_rows(report["recall"]))
    if "rerank" in report:
        for stage in report["stages"][-3:-1]:
            print_table(stage["name"], COLUMNS, recall_rows(stage["recall"]))
    if "folds" in report:
        folds = report["folds"]
        title = f"mean of {folds['count']} folds of {data['images'] // folds['count']} images"
        print_table(title, COLUMNS, recall_rows(folds["mean"]))
    for entry in report.get("steps", ()):
        for part, title in (("alone", "step {} alone"), ("up_to", "steps up to {}")):
            print_table(title.format(entry["step"]), COLUMNS, recall_rows(entry[part]))
    if "baseline" in report:
        baseline = report["baseline"]
        print_table(baseline["name"], COLUMNS, recall_rows(baseline["recall"]))
        print_table("the bundle less that", COLUMNS, recall_rows(baseline["difference"]["recall"]))
    for query, key in DIRECTIONS.items():
        rows = [*report["shortlists"][key], *report.get("cascade", {}).get(key, ())]
        if rows:
            shares = [key for key in SHARES if key in rows[0]]
            heads = ("candidates", "R@1", "R@5", "R@10", *(SHARES[key] for key in shares))
            shown = (_shortlist_row(row, shares) for row in rows)
            print_table(f"shortlists, {direction_title(query)}", heads, shown)


def _shortlist_row(row: dict[str, Any], shares: list[str]) -> list[str]:
    share = [f"{100 * row[key]:.1f} %" if key in row else "" for key in shares]
    figures = (f"{row[figure]:.1f}" for figure in ("r1", "r5", "r10"))
    prefilter = f" of {row['prefilter']} prefiltered" if "prefilter" in row else ""
    return [f"{row['width']}{prefilter}", *figures, *share]


def recall_rows(recall: dict[str, Any]) -> Iterator[list[str]]:
    """A row a direction, then rSum."""
    for query, key in DIRECTIONS.items():
        row = recall[key]
        yield [
            direction_title(query),
            *(f"{row[figure]:.1f}" for figure in ("r1", "r5", "r10")),
            f"{row['median_rank']:g}",
            f"{row['mean_rank']:.1f}",
        ]
    yield ["rSum", f"{recall['rsum']:.1f}", "", "", "", ""]
