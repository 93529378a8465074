"""``itr-deploy export regions``: a region detector, which makes regions of pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import itr_deploy
from itr_deploy.cli.export.options import Dtype, Opset
from itr_deploy.cli.options import Force, Json, LogFormat, NewBundle, Quiet, Threads, Verbose
from itr_deploy.cli.parity_table import print_made
from itr_deploy.cli.parsers import region_counts
from itr_deploy.cli.progress import steps
from itr_deploy.models.registry import DEFAULT_OPSET

PANEL = "The detector's own"


def regions(
    *,
    checkpoint: Annotated[
        Path,
        typer.Option(
            help="The detector's published file: bua-caffe-frcn-r101-k36.pth or another .pth of "
            "bua-caffe, or pytorch_model.bin or a .pkl of frcnn-vg."
        ),
    ],
    output: NewBundle,
    config: Annotated[
        Path | None,
        typer.Option(
            help="The program's yaml with sides, counts and thresholds; frcnn-vg needs its "
            "config.yaml.",
            rich_help_panel=PANEL,
        ),
    ] = None,
    boxes: Annotated[
        str | None,
        typer.Option(
            parser=region_counts,
            metavar="N|MIN-MAX",
            help="Regions of a picture: 36, or 10-100; those of the config, or 36.",
            rich_help_panel=PANEL,
        ),
    ] = None,
    proposals: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Proposals of a picture that are looked at, nearly all of the work; those of the "
            "config, or 300. Fewer change which regions are found.",
            rich_help_panel=PANEL,
        ),
    ] = None,
    considered: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Best boxes that are suppressed among one another before that; those of the "
            "config, or 6000.",
            rich_help_panel=PANEL,
        ),
    ] = None,
    shortest_side: Annotated[
        int | None,
        typer.Option(
            min=16,
            help="Pixels that a picture's shorter side is resized to; those of the config, or 600.",
            rich_help_panel=PANEL,
        ),
    ] = None,
    longest_side: Annotated[
        int | None,
        typer.Option(
            min=16,
            help="The most of its longer side; that of the config, or 1000.",
            rich_help_panel=PANEL,
        ),
    ] = None,
    picture: Annotated[
        Path | None,
        typer.Option(help="A picture to compare with PyTorch on; a made one without it."),
    ] = None,
    opset: Opset = DEFAULT_OPSET,
    dtype: Dtype = "float32",
    force: Force = False,
    threads: Threads = None,
    as_json: Json = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
    log_format: LogFormat = "text",
) -> None:
    """A detector of bottom-up attention (CVPR 2018): pictures to the regions that matchers read."""
    with steps() as begin:
        made = itr_deploy.export_regions(
            checkpoint=checkpoint,
            output=output,
            config=config,
            boxes=boxes,  # type: ignore[arg-type]  # its parser makes two numbers of the text
            proposals=proposals,
            considered=considered,
            shortest_side=shortest_side,
            longest_side=longest_side,
            picture=picture,
            opset=opset,
            dtype=dtype,
            force=force,
            progress=begin,
        )
    print_made(made, as_json, made.described)
