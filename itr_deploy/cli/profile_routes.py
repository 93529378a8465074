"""``itr-deploy profile-routes``: how much a model uses its routes on real data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import itr_deploy
from itr_deploy.cli.options import (
    Bundle,
    Data,
    FollowLinks,
    Force,
    Json,
    LogFormat,
    Quiet,
    Split,
    Threads,
    Verbose,
)
from itr_deploy.cli.output import print_json, print_table
from itr_deploy.cli.progress import counted

app = typer.Typer(add_completion=False)


@app.command()
def profile_routes(
    bundle: Bundle,
    *,
    data: Data,
    split: Split = "dev",
    images: Annotated[
        int | None,
        typer.Option(min=1, help="How many of its images, with all their captions."),
    ] = None,
    output: Annotated[
        Path,
        typer.Option(
            help="The profile to write; the picture lies beside it, with the ending .svg."
        ),
    ] = Path("routes.json"),
    force: Force = False,
    threads: Threads = None,
    as_json: Json = False,
    follow_links: FollowLinks = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
    log_format: LogFormat = "text",
) -> None:
    """Count how much the model of BUNDLE uses its routes.

    Scores all pairs of a split. Where the bundle's graphs do not give what is counted, the error
    says how to export them; the profile is what an export of the family prunes by.
    """
    with counted("profiling pairs") as progress:
        profile = itr_deploy.profile_routes(
            bundle,
            data=data,
            split=split,
            images=images,
            output=output,
            force=force,
            progress=progress,
        )
    if as_json:
        print_json(profile.model_dump(mode="json"))
        return
    for table in profile.tables():
        print_table(table.title, table.columns, table.rows)
    typer.echo(profile.summary())
    typer.echo(f"profile: {output}, picture: {output.with_suffix('.svg')}")
