"""The report as one HTML page that needs nothing beside it."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from importlib.resources import files
from typing import Any

from itr_deploy.bundle.modality import DIRECTIONS, direction_title
from itr_deploy.bundle.published import Published
from itr_deploy.evaluation.data.split import Split
from itr_deploy.evaluation.measures.search_stages import Staged
from itr_deploy.evaluation.report.curves import recall_svg
from itr_deploy.evaluation.report.examples_page import examples_section
from itr_deploy.evaluation.report.pictures import Pictures
from itr_deploy.evaluation.report.tables import number, section, table

WAYS = {way: direction_title(query) for query, way in DIRECTIONS.items()}
"""The directions as a report has them, and for people."""

CUTOFFS = ("r1", "r5", "r10")
SHARES = {
    "share_of_top10": "of the exhaustive top 10",
    "share_of_top10_plain": "without the projection",
}
RECALL_HEADS = ("", *(("R@1", "R@5", "R@10") * 2), "rSum")
RECALL_GROUPS = (("", 1), *((name, 3) for name in WAYS.values()), ("", 1))


def page(
    report: dict[str, Any],
    stages: Staged,
    split: Split,
    pictures: Pictures,
    published: Sequence[Published] = (),
) -> str:
    """The page of a report.

    Args:
        report: What `evaluation.json` holds.
        stages: The stages it is of, for examples.
        split: The data.
        pictures: Of the split's images, where there are any.
        published: What the papers give, to stand beside the figures.
    """
    examples, classes = examples_section(stages, split, pictures)
    body = "".join(
        [
            _heading(report),
            _recall_section(report, published),
            _baseline_section(report),
            _folds_section(report),
            _steps_section(report),
            _curves_section(report),
            _shortlist_section(report),
            examples,
            _footer(report),
        ]
    )
    style = files("itr_deploy.evaluation.report").joinpath("page.css").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Evaluation of {escape(_model(report))}</title>\n"
        f"<style>\n{style}{classes}</style>\n</head>\n<body>\n<main>\n{body}</main>\n</body>\n</html>\n"
    )


def _model(report: dict[str, Any]) -> str:
    bundle = report["bundle"]
    members = bundle["members"]
    return f"an ensemble of {', '.join(members)}" if members else str(bundle["family"])


def _heading(report: dict[str, Any]) -> str:
    data = report["data"]
    return (
        f"<h1>Evaluation of {escape(_model(report))}</h1>"
        f'<p class="lead">{data["images"]:,} images and {data["captions"]:,} captions of the split '
        f"{escape(repr(data['split']))}, scoring: {escape(report['scoring'])}.</p>\n"
    )


def _recall_section(report: dict[str, Any], published: Sequence[Published]) -> str:
    own = [
        ("measured" if n == len(report["stages"]) - 1 else "", stage["name"], stage["recall"])
        for n, stage in enumerate(report["stages"])
    ]
    rows = [(kind, [name, *_recall_cells(recall)]) for kind, name, recall in own]
    rows += [("paper", _paper_cells(row)) for row in published]
    note = "Percent of queries whose right answer is among the first K; a tie counts against it. "
    note += (
        "Rows in grey are the papers' figures, on the papers' data, and were not measured here: "
        "they compare with the rows above only on the same test set."
        if published
        else "No published figures of this model are at hand."
    )
    rerank = report.get("rerank") or {}
    if rerank.get("warning"):
        note = f"{rerank['warning']}. {note}"
    ranks = [
        ("", [WAYS[way], *(number(report["recall"][way][f]) for f in ("median_rank", "mean_rank"))])
        for way in WAYS
    ]
    return section(
        "Recall",
        table(RECALL_HEADS, rows, RECALL_GROUPS)
        + f'<p class="note">{escape(note)}</p>'
        + table((report["stages"][-1]["name"], "median rank", "mean rank"), ranks),
    )


def _recall_cells(recall: dict[str, Any]) -> list[str]:
    cells = [number(recall[way][figure]) for way in WAYS for figure in CUTOFFS]
    return [*cells, number(recall["rsum"])]


def _paper_cells(row: Published) -> list[str]:
    name = f"{row.model} in the paper, {row.data} ({row.source})"
    ways = (row.image_to_text, row.text_to_image)
    cells = [number(value) for way in ways for value in way or (None,) * 3]
    return [name, *cells, number(row.rsum)]


def _baseline_section(report: dict[str, Any]) -> str:
    if "baseline" not in report:
        return ""
    baseline = report["baseline"]
    rows = [
        ("", ["bundle", *_recall_cells(report["recall"])]),
        ("", [baseline["name"], *_recall_cells(baseline["recall"])]),
        ("measured", ["difference", *_recall_cells(baseline["difference"]["recall"])]),
    ]
    other = baseline["queries_with_another_rank"]
    note = (
        f"Largest difference of a score: {baseline['largest_score_difference']:.1e}. Queries with "
        f"another rank: {other['image_to_text']:,} images, {other['text_to_image']:,} captions."
    )
    content = table(RECALL_HEADS, rows, RECALL_GROUPS) + f'<p class="note">{escape(note)}</p>'
    return section(f"Against {baseline['name']}", content)


def _folds_section(report: dict[str, Any]) -> str:
    if "folds" not in report:
        return ""
    folds = report["folds"]
    size = report["data"]["images"] // folds["count"]
    rows = [("measured", ["mean", *_recall_cells(folds["mean"])])]
    rows += [
        ("", [f"fold {n}", *_recall_cells(fold)]) for n, fold in enumerate(folds["each"], start=1)
    ]
    title = f"{folds['count']} folds of {size:,} images, every pair of a fold scored"
    return section(title, table(RECALL_HEADS, rows, RECALL_GROUPS))


def _steps_section(report: dict[str, Any]) -> str:
    rows = []
    for entry in report.get("steps", ()):
        rows.append(("", [f"step {entry['step']} alone", *_recall_cells(entry["alone"])]))
        rows.append(("", [f"steps up to {entry['step']}", *_recall_cells(entry["up_to"])]))
    return section("Matching steps", table(RECALL_HEADS, rows, RECALL_GROUPS)) if rows else ""


def _curves_section(report: dict[str, Any]) -> str:
    names = [stage["name"] for stage in report["stages"]]
    keys = "".join(
        f'<span><svg viewBox="0 0 28 8"><polyline class="line-{n}" points="0,4 28,4"/></svg>'
        f"{escape(name)}</span>"
        for n, name in enumerate(names)
    )
    charts = ""
    for way, title in WAYS.items():
        lines = [(stage["name"], stage["curve"][way]) for stage in report["stages"]]
        svg = recall_svg(f"Recall@K, {title}", report["stages"][0]["curve"]["depths"], lines)
        charts += f"<figure>{svg}<figcaption>Recall@K in percent, {title}</figcaption></figure>"
    return section(
        "Recall curves", f'<div class="legend">{keys}</div><div class="charts">{charts}</div>'
    )


def _shortlist_section(report: dict[str, Any]) -> str:
    content = ""
    for way, title in WAYS.items():
        found = [*report["shortlists"][way], *report.get("cascade", {}).get(way, ())]
        if not found:
            continue
        shares = [(key, name) for key, name in SHARES.items() if key in found[0]]
        heads = (title, "R@1", "R@5", "R@10", *(name for _, name in shares))
        rows = [
            (
                "",
                [
                    _candidates(row),
                    *(number(row[figure]) for figure in CUTOFFS),
                    *(f"{100 * row[key]:.1f} %" if key in row else "-" for key, _ in shares),
                ],
            )
            for row in found
        ]
        content += table(heads, rows)
    return section("What a shortlist costs", content) if content else ""


def _candidates(row: dict[str, Any]) -> str:
    prefilter = f" of {row['prefilter']:,} by the prefilter" if "prefilter" in row else ""
    return f"{row['width']:,} candidates{prefilter}"


def _footer(report: dict[str, Any]) -> str:
    run, bundle = report["run"], report["bundle"]
    peak = run["peak_memory_bytes"]
    memory = "" if peak is None else f", peak memory {peak / 2**20:,.0f} MiB"
    parts = (
        f"Bundle {bundle['path']}, checkpoint {bundle['checkpoint']}, "
        f"encoding {bundle['encoding_id'][:12]}.",
        f"Last run: {run['pairs_scored']:,} pairs in {run['scoring_seconds']:,.1f} s{memory},",
        f"{run['backend']}.",
    )
    return f"<footer>{escape(' '.join(parts))}</footer>\n"
