"""``itr-deploy doctor``: what this machine has, what truly loads, and how to mend the rest."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from itr_deploy.cli.output import needs_export_half, print_json, print_table, steps
from itr_deploy.errors import SetupError

if TYPE_CHECKING:
    from itr_deploy.diagnosis.machine import Machine
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
    from itr_deploy.diagnosis.examine import examine
    from itr_deploy.diagnosis.machine import Machine

    machine = Machine()
    checks = []
    for check in examine(machine, bundles):
        checks.append(check)
        if not as_json:
            click.echo(f"{check.state:<8} {check}")
    rows = _self_test(machine) if tested else []
    states = [check.state for check in checks] + [row.state for row in rows]
    problems = states.count("problem")
    if as_json:
        found: dict[str, object] = {"checks": [check.to_json() for check in checks]}
        if tested:
            found["self_test"] = [row.to_json() for row in rows]
        print_json({**found, "problems": problems})
    elif tested:
        _print_rows(rows)
    if problems:
        raise SetupError(f"{problems} problem{'s' * (problems > 1)} found")


def _self_test(machine: Machine) -> list[Row]:
    with steps(quiet=False) as begin:
        begin("loading PyTorch")
        with needs_export_half():
            from itr_deploy.diagnosis.selftest import self_test
        return self_test(machine, begin)


def _print_rows(rows: list[Row]) -> None:
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
