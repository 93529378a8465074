"""``itr-deploy ensemble``: several bundles joined into one."""

from __future__ import annotations

from pathlib import Path

import click

from itr_deploy.cli.output import steps
from itr_deploy.cli.parity_table import print_made


@click.command("ensemble")
@click.argument("bundles", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--weight",
    "weights",
    multiple=True,
    type=float,
    help="Weight of a member, once a member in their order; equal by default.",
)
@click.option(
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    help="Directory of the bundle to make.",
)
@click.option("--force", is_flag=True, help="Replace an existing bundle.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(
    bundles: tuple[Path, ...],
    weights: tuple[float, ...],
    output: Path,
    force: bool,
    as_json: bool,
) -> None:
    """Join BUNDLES into one whose score is the weighted mean of theirs.

    The members take the same region features and the same text processing. One gallery stores
    what all of them need.
    """
    with steps(quiet=False) as begin:
        from itr_deploy.deploy.ensembling import ensemble

        result = ensemble(
            bundles, output=output, weights=weights or None, force=force, progress=begin
        )
    print_made(result, as_json)
