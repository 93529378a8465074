"""``itr-deploy shard``: a large gallery as several ones, which several machines search together."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import itr_deploy
from itr_deploy.cli.options import Json, LogFormat, Quiet, Verbose
from itr_deploy.cli.output import print_json
from itr_deploy.cli.progress import counted

app = typer.Typer(add_completion=False)


@app.command()
def shard(
    gallery: Annotated[
        Path, typer.Argument(metavar="GALLERY", help="The gallery.", show_default=False)
    ],
    *,
    count: Annotated[int, typer.Option(min=1, max=4096, help="Number of shards.")],
    output: Annotated[
        Path, typer.Option(help="Directory to make: shards.json, shard-0000, shard-0001, ...")
    ],
    coarse_index: Annotated[
        bool | None,
        typer.Option(
            "--coarse-index/--no-coarse-index",
            help="Build every shard's coarse index; by default from 500,000 items of a shard on.",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
    log_format: LogFormat = "text",
) -> None:
    """Split a GALLERY into shards, each of them an ordinary gallery.

    An item's shard follows from its id. Nothing is encoded; the gallery stays as it is.
    """
    with counted("writing") as tell:
        made = itr_deploy.shard(
            gallery, count=count, output=output, coarse_index=coarse_index, progress=tell
        )
    if as_json:
        print_json(made.to_json())
        return
    fewest, most, count = min(made.items), max(made.items), len(made.items)
    each = f"{count} shards of {fewest} to {most}" if count > 1 else "1 shard"
    typer.echo(f"shards: {made.shards} ({sum(made.items)} {made.modality}s in {each})")
