"""``itr-deploy convert``: extractors' files into a data directory."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import itr_deploy
from itr_deploy.cli.options import Force, Json, LogFormat, Quiet, Split, Verbose
from itr_deploy.cli.output import print_json
from itr_deploy.cli.progress import phase_bars

app = typer.Typer(add_completion=False)


@app.command()
def convert(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="SOURCE",
            help="A TSV of the Caffe extractors, HDF5, or a folder of .tsv, .npz, .npy or .hdf5 "
            "files.",
            show_default=False,
        ),
    ],
    *,
    output: Annotated[Path, typer.Option(help="Directory of the data to make.")],
    split: Split = "test",
    ids: Annotated[
        Path | None,
        typer.Option(
            help="File of image ids, one a line: which images, and their order; by default all."
        ),
    ] = None,
    force: Force = False,
    as_json: Json = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
    log_format: LogFormat = "text",
) -> None:
    """Write the region features of SOURCE in the layout that index and evaluate read.

    Boxes and picture sizes are kept, and how many regions every image has.
    """
    with phase_bars() as tell:
        made = itr_deploy.convert(
            source, output=output, split=split, ids=ids, force=force, progress=tell
        )
    if as_json:
        print_json(made.to_json())
        return
    regions = f"{made.least_regions} to {made.most_regions}"
    if made.least_regions == made.most_regions:
        regions = str(made.most_regions)
    boxes = "boxes" if made.boxes else "no boxes"
    typer.echo(
        f"data: {made.data} ({made.images} images of {made.split}, {regions} regions of "
        f"{made.feature_dim} features, {boxes})"
    )
