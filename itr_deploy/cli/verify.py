"""``itr-deploy verify``: the parity gate again, on an existing bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import itr_deploy
from itr_deploy.cli.options import (
    Bundle,
    FollowLinks,
    Json,
    LogFormat,
    Quiet,
    Split,
    Threads,
    Verbose,
)
from itr_deploy.cli.output import print_json
from itr_deploy.cli.parity_table import print_report
from itr_deploy.cli.progress import steps
from itr_deploy.errors import ParityError

app = typer.Typer(add_completion=False)


@app.command()
def verify(
    bundle: Bundle,
    *,
    checkpoint: Annotated[
        Path,
        typer.Option(help="The checkpoint that the bundle, or its re-ranker, was made from."),
    ],
    tolerance: Annotated[
        float | None,
        typer.Option(
            help="Largest error of a score, on |a-b| / (1+|b|); by default 1e-4 for float32 "
            "bundles, 1e-2 for float16, 5e-2 for bfloat16.",
        ),
    ] = None,
    storage_tolerance: Annotated[
        float | None,
        typer.Option(help="The same for scores over float16 galleries, at least 1e-2."),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Directory of real data to rank, random inputs by default."),
    ] = None,
    split: Split = "test",
    images: Annotated[
        int, typer.Option(min=2, help="How many of its images, with all their captions.")
    ] = 32,
    threads: Threads = None,
    as_json: Json = False,
    follow_links: FollowLinks = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
    log_format: LogFormat = "text",
) -> None:
    """Compare a bundle with its checkpoint in PyTorch.

    Prints the errors, writes them to parity.json in the BUNDLE, and ends with exit code 3 if a
    tolerance is missed.
    """
    with steps() as begin:
        report = itr_deploy.verify(
            bundle,
            checkpoint=checkpoint,
            tolerance=tolerance,
            storage_tolerance=storage_tolerance,
            data=data,
            split=split,
            images=images,
            progress=begin,
        )
    if as_json:
        print_json(report.to_json())
    else:
        print_report(report)
    if not report.passed:
        from itr_deploy.parity.report import missed

        raise ParityError(missed(report, "do not deploy this bundle"))
