"""``itr-deploy index-coarse``: the index of a large gallery's coarse embeddings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import itr_deploy
from itr_deploy.cli.options import Json, LockTimeout, LogFormat, Quiet, Threads, Verbose
from itr_deploy.cli.output import print_json
from itr_deploy.cli.progress import steps

app = typer.Typer(add_completion=False)


@app.command()
def index_coarse(
    gallery: Annotated[
        Path, typer.Argument(metavar="GALLERY", help="The gallery.", show_default=False)
    ],
    threads: Threads = None,
    lock_timeout: LockTimeout = 10.0,
    as_json: Json = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
    log_format: LogFormat = "text",
) -> None:
    """Build the index of a GALLERY's coarse embeddings, or build it again over all items.

    For galleries too large to keep those embeddings in memory: index builds it by itself from
    500,000 items on. Searches then shortlist approximately.
    """
    with steps() as begin:
        begin("building the coarse index")
        indexed = itr_deploy.index_coarse(gallery, lock_timeout=lock_timeout)
    if as_json:
        print_json(indexed.to_json())
    else:
        typer.echo(f"gallery: {indexed.gallery} ({indexed.coarse_indexed} items indexed)")
