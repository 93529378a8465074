"""``itr-deploy doctor``: what this machine has, what really loads, and the remedy for the rest."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import itr_deploy
from itr_deploy.cli.options import FollowLinks, Json, LogFormat, Quiet, Verbose
from itr_deploy.cli.output import print_json, print_table
from itr_deploy.cli.progress import steps
from itr_deploy.errors import SetupError

if TYPE_CHECKING:
    from itr_deploy.diagnosis.checks import Check
    from itr_deploy.diagnosis.selftest import Row

app = typer.Typer(add_completion=False)


@app.command()
def doctor(
    bundles: Annotated[
        list[Path] | None,
        typer.Argument(metavar="BUNDLE", help="Bundles to look at too."),
    ] = None,
    self_test: Annotated[
        bool,
        typer.Option(
            "--self-test",
            help="Also export a small model and compare every backend that is there with PyTorch.",
        ),
    ] = False,
    as_json: Json = False,
    follow_links: FollowLinks = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
    log_format: LogFormat = "text",
) -> None:
    """Look at this machine: what is installed, what truly loads, and the remedy for what does not.

    For every BUNDLE: whether it is whole, and which of its engines fit this machine. A machine
    without a GPU is in order. Exit code 4 if there is a problem.
    """

    def show(check: Check) -> None:
        if not as_json:
            typer.echo(f"{check.state:<8} {check}")

    with steps(shown=self_test) as begin:
        found = itr_deploy.doctor(
            *bundles or (), self_test=self_test, on_check=show, progress=begin
        )
    if as_json:
        print_json(found.to_json())
    elif self_test:
        _print_rows(found.self_test)
    if found.problems:
        raise SetupError(f"{found.problems} problem{'s' * (found.problems > 1)} found")


def _print_rows(rows: Sequence[Row]) -> None:
    columns = ("backend", "device", "precision", "largest error", "same ranking", "ms a call")
    print_table(
        "self-test: a small model on every backend, against PyTorch",
        columns,
        [
            (
                row.backend,
                row.device,
                row.precision,
                "" if row.error is None else f"{row.error:.1e}",
                {None: "", True: "yes", False: "NO"}[row.same_ranking],
                "" if row.milliseconds is None else f"{row.milliseconds:.2f}",
            )
            for row in rows
            if row.state != "missing"
        ],
    )
    # A backend that is absent is missing in every precision.
    for line in dict.fromkeys(f"{row.state:<8} {_place(row)}: {row.said}" for row in rows):
        typer.echo(line)


def _place(row: Row) -> str:
    where = f"{row.backend} on {row.device}"
    return where if row.state == "missing" else f"{where}, {row.precision}"
