"""The parity report as tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import typer

from itr_deploy.cli.output import print_json, print_table

if TYPE_CHECKING:
    from itr_deploy.deploy.exported import Exported
    from itr_deploy.parity import ParityReport


def print_made(
    made: Exported,
    as_json: bool,
    parity_with: str = "PyTorch",
    described: Mapping[str, str] | None = None,
) -> None:
    """Print the result of an export, an ensemble or a cascade, with its parity.

    Args:
        made: The result.
        as_json: Whether to print JSON.
        parity_with: What it was compared with.
        described: What else there is to say of what was made: names and values.
    """
    if as_json:
        made_json = {"bundle": str(made.path), "encoding_id": made.encoding_id}
        more = {} if described is None else {"described": dict(described)}
        print_json({**made_json, **more, **made.report.to_json()})
        return
    if described is not None:
        print_table("What was made", ("", ""), described.items())
    print_report(made.report, parity_with)
    typer.echo(f"bundle: {made.path}")


def print_report(report: ParityReport, parity_with: str = "PyTorch") -> None:
    """Print every comparison with what is called so, and the verdict."""
    mark = {True: "ok", False: "MISSED"}
    print_table(
        f"Parity with {parity_with}",
        ("output", "max abs", "max rel", "needed", "allowed", ""),
        (
            (
                entry.name,
                f"{entry.max_absolute:.1e}",
                f"{entry.max_relative:.1e}",
                f"{entry.needed:.1e}",
                "ranks" if entry.tolerance is None else f"{entry.tolerance:.0e}",
                mark[entry.passed] if entry.finite else "NaN",
            )
            for entry in (*report.outputs, *report.invariance)
        ),
    )
    if report.ranks:
        _print_ranks(report, mark, parity_with)
    if report.changes:
        print_table(
            "Against the model before the change",
            ("ranking", "R@1/5/10 before", "after", "moved", "by", "same order"),
            (
                (
                    change.name,
                    " / ".join(f"{value:.1f}" for value in change.before),
                    " / ".join(f"{value:.1f}" for value in change.after),
                    f"{change.moved:.1%}",
                    f"{change.mean_move:.2f}",
                    f"{change.same_order:.4f}",
                )
                for change in report.changes
            ),
        )
    for line in report.unchecked:
        typer.echo(f"not checked: {line}")


def _print_ranks(report: ParityReport, mark: dict[bool, str], parity_with: str) -> None:
    print_table(
        f"Ranks (best kept: the first of {parity_with} is in the first 1/5/10; same: equal order "
        "throughout)",
        ("ranking", "queries", "items", "top-10", "best kept", "same", "swap", ""),
        (
            (
                entry.name,
                str(entry.queries),
                str(entry.items),
                f"{entry.top_overlap:.3f}",
                "/".join(f"{share:.3g}" for share in entry.best_kept),
                f"{entry.same_order:.3f}",
                f"{entry.largest_swap:.1e}",
                mark[entry.passed],
            )
            for entry in report.ranks
        ),
    )
