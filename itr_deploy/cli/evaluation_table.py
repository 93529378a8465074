"""An evaluation's figures as tables."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from itr_deploy.cli.output import print_table

COLUMNS = ("", "R@1", "R@5", "R@10", "median", "mean rank")
DIRECTIONS = {"image_to_text": "image to text", "text_to_image": "text to image"}


def print_evaluation(report: dict[str, Any]) -> None:
    """Print the figures of an evaluation's report."""
    data = report["data"]
    size = f"{data['images']} images, {data['captions']} captions"
    print_table(f"{data['split']}: {size}", COLUMNS, recall_rows(report["recall"]))
    if "folds" in report:
        folds = report["folds"]
        title = f"mean of {folds['count']} folds of {data['images'] // folds['count']} images"
        print_table(title, COLUMNS, recall_rows(folds["mean"]))


def recall_rows(recall: dict[str, Any]) -> Iterator[list[str]]:
    """A row a direction, then rSum."""
    for key, name in DIRECTIONS.items():
        row = recall[key]
        yield [
            name,
            *(f"{row[figure]:.1f}" for figure in ("r1", "r5", "r10")),
            f"{row['median_rank']:g}",
            f"{row['mean_rank']:.1f}",
        ]
    yield ["rSum", f"{recall['rsum']:.1f}", "", "", "", ""]
