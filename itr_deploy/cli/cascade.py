"""``itr-deploy cascade``: a dual encoder in front of a matcher."""

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
def cascade(
    retriever: Annotated[
        Path,
        typer.Argument(help="Directory of the dual encoder's bundle.", show_default=False),
    ],
    matcher: Annotated[
        Path, typer.Argument(help="Directory of the matcher's bundle.", show_default=False)
    ],
    *,
    output: NewBundle,
    force: Force = False,
    threads: Threads = None,
    as_json: Json = False,
    follow_links: FollowLinks = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
    log_format: LogFormat = "text",
) -> None:
    """Put the dual encoder RETRIEVER in front of MATCHER: it shortlists, the matcher scores.

    Both take the same region features and split texts in the same way. One gallery stores what
    both need; tune chooses the widths of the shortlists.
    """
    with steps() as begin:
        made = itr_deploy.cascade(retriever, matcher, output=output, force=force, progress=begin)
    print_made(made, as_json, "the two bundles")
