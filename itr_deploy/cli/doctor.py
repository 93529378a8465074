"""``itr-deploy doctor``: what this machine has, what truly loads, and how to mend the rest."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from itr_deploy.cli.output import print_json, print_table, steps
from itr_deploy.errors import SetupError

if TYPE_CHECKING:
    from itr_deploy.diagnosis.checks import Check
    from itr_deploy.diagnosis.selftest import Row


@click.command("doctor")
@click.argument("bundles", nargs=-1, type=click.Path(path_type=Path), metavar="[BUNDLE]...")
@click.option("--json", "as_json", is_flag=True, help="Print what was found as JSON.")
@click.option(
    "--self-test",
    "tested",
    is_flag=True,
    help="Also export a small model and compare every backend that is there with PyTorch.",
)
def command(bundles: tuple[Path, ...], as_json: bool, tested: bool) -> None:
    """Look at this machine: what is installed, what truly loads, and how to mend what does not.

    For every BUNDLE: whether it is whole, and which of its engines fit this machine. A machine
    without a GPU is in order. Exit code 4 if there is a problem.
    """
    from itr_deploy.diagnosis.doctor import doctor

    def show(check: Check) -> None:
        if not as_json:
            click.echo(f"{check.state:<8} {check}")

    with steps(quiet=not tested) as begin:
        found = doctor(*bundles, self_test=tested, on_check=show, progress=begin)
    if as_json:
        print_json(found.to_json())
    elif tested:
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
    # What is not there is missing in every precision.
    for line in dict.fromkeys(f"{row.state:<8} {_place(row)}: {row.said}" for row in rows):
        click.echo(line)


def _place(row: Row) -> str:
    where = f"{row.backend} on {row.device}"
    return where if row.state == "missing" else f"{where}, {row.precision}"
