"""``itr-deploy index-bank``: stores with a gallery what re-ranking it with a bank needs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import itr_deploy
from itr_deploy.cli.options import (
    Backend,
    Bundle,
    Device,
    FollowLinks,
    Json,
    LockTimeout,
    LogFormat,
    Quiet,
    Threads,
    Verbose,
)
from itr_deploy.cli.output import print_json
from itr_deploy.cli.parsers import byte_size
from itr_deploy.cli.progress import counted

app = typer.Typer(add_completion=False)


@app.command()
def index_bank(
    bundle: Bundle,
    *,
    gallery: Annotated[Path, typer.Option(help="The gallery, in a local directory.")],
    bank: Annotated[Path, typer.Option(help="A gallery of the other modality.")],
    limit: Annotated[
        int,
        typer.Option(
            parser=byte_size,
            metavar="SIZE",
            show_default="1GiB",
            help="What all scores of gallery and bank may take; with more, only every item's best "
            "bank items are kept, taken from the bundle's shortlist.",
        ),
    ] = 1 << 30,
    lock_timeout: LockTimeout = 10.0,
    device: Device = "cpu",
    backend: Backend = "auto",
    threads: Threads = None,
    as_json: Json = False,
    follow_links: FollowLinks = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
    log_format: LogFormat = "text",
) -> None:
    """Score a gallery with a bank, so that searches that re-rank need not.

    What is kept fits the gallery and the bank as they are: run it again when either has changed.
    """
    with counted("scoring with the bank") as progress:
        made = itr_deploy.index_bank(
            bundle,
            gallery=gallery,
            bank=bank,
            limit=limit,
            lock_timeout=lock_timeout,
            device=device,
            backend=backend,
            progress=progress,
        )
    if as_json:
        print_json(made.to_json())
        return
    kept = "all scores" if made.all_scores_kept else "every item's best bank items"
    typer.echo(f"gallery: {made.gallery} ({made.items} {made.modality}s, with {kept} of {bank})")
