"""``itr-deploy ensemble``: several bundles joined into one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import itr_deploy
from itr_deploy.cli.options import (
    FollowLinks,
    Force,
    Json,
    LogFormat,
    NewBundle,
    Quiet,
    Threads,
    Verbose,
)
from itr_deploy.cli.parity_table import print_made
from itr_deploy.cli.progress import steps

app = typer.Typer(add_completion=False)


@app.command()
def ensemble(
    bundles: Annotated[
        list[Path],
        typer.Argument(metavar="BUNDLE", help="The members' directories.", show_default=False),
    ],
    *,
    weights: Annotated[
        list[float] | None,
        typer.Option(
            "--weight",
            metavar="WEIGHT",
            help="Weight of a member, once a member in their order; equal by default.",
        ),
    ] = None,
    output: NewBundle,
    force: Force = False,
    threads: Threads = None,
    as_json: Json = False,
    follow_links: FollowLinks = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
    log_format: LogFormat = "text",
) -> None:
    """Join BUNDLES into one whose score is the weighted mean of theirs.

    The members take the same region features and the same text processing. One gallery stores
    what all of them need.
    """
    with steps() as begin:
        made = itr_deploy.ensemble(
            bundles, output=output, weights=weights, force=force, progress=begin
        )
    print_made(made, as_json, "the members")
