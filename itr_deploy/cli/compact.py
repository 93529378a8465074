"""``itr-deploy compact``: writes a gallery anew without what was deleted from it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import itr_deploy
from itr_deploy.cli.options import Json, LockTimeout, LogFormat, Quiet, Verbose
from itr_deploy.cli.output import print_json
from itr_deploy.cli.progress import steps

app = typer.Typer(add_completion=False)


@app.command()
def compact(
    gallery: Annotated[
        Path, typer.Argument(metavar="GALLERY", help="The gallery.", show_default=False)
    ],
    keep: Annotated[
        float,
        typer.Option(
            min=0.0,
            metavar="SECONDS",
            help="How long old versions stay for those who search them on disk; 0 removes them, "
            "and with them all that was deleted, at once.",
        ),
    ] = 600.0,
    lock_timeout: LockTimeout = 10.0,
    as_json: Json = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
    log_format: LogFormat = "text",
) -> None:
    """Write a GALLERY's items anew in few files, without those that were deleted.

    Searches find what they found. Needs space for the items beside what is there.
    """
    with steps() as begin:
        begin("compacting")
        made = itr_deploy.compact(gallery, keep=keep, lock_timeout=lock_timeout)
    if as_json:
        print_json(made.to_json())
        return
    typer.echo(
        f"gallery: {made.gallery} ({made.items} items, {made.files_before} files of "
        f"{made.bytes_before / 1e6:,.1f} MB before, {made.files_after} of "
        f"{made.bytes_after / 1e6:,.1f} MB now)"
    )
    kept = made.versions_kept
    left = f"; {kept} stay, which may hold deleted items, until --keep is over" if kept else ""
    typer.echo(f"old versions: {made.versions_removed} removed{left}")
