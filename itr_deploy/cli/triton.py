"""``itr-deploy triton``: a model repository for NVIDIA's Triton Inference Server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import itr_deploy
from itr_deploy.cli.options import (
    Bundle,
    Device,
    FollowLinks,
    Force,
    Json,
    LogFormat,
    Quiet,
    Verbose,
)
from itr_deploy.cli.output import print_json

QUEUE_PANEL = "Batches and queues"

app = typer.Typer(add_completion=False)


@app.command()
def triton(
    bundle: Bundle,
    *,
    gallery: Annotated[Path, typer.Option(help="A gallery made with the bundle.")],
    output: Annotated[Path, typer.Option(help="The model repository to make.")],
    copy: Annotated[
        bool,
        typer.Option(
            "--copy",
            help="Put copies of bundle and gallery into the repository; by default it names their "
            "absolute paths.",
        ),
    ] = False,
    device: Device = "cpu",
    max_batch: Annotated[
        int,
        typer.Option(
            min=1,
            max=1024,
            help="Most queries of a request, and of those searched together.",
            rich_help_panel=QUEUE_PANEL,
        ),
    ] = 8,
    max_wait_ms: Annotated[
        float,
        typer.Option(
            min=0.0,
            max=1000.0,
            help="Milliseconds that a request waits for others to be computed with.",
            rich_help_panel=QUEUE_PANEL,
        ),
    ] = 2.0,
    max_queue: Annotated[
        int,
        typer.Option(
            min=1,
            max=100_000,
            help="Most requests that wait for a model; more are refused.",
            rich_help_panel=QUEUE_PANEL,
        ),
    ] = 64,
    request_timeout: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            help="How long a request may wait before it is refused.",
            rich_help_panel=QUEUE_PANEL,
        ),
    ] = 10.0,
    max_k: Annotated[int, typer.Option(min=1, help="Most hits that a query may ask for.")] = 1000,
    refresh: Annotated[
        float,
        typer.Option(
            min=0.0,
            metavar="SECONDS",
            help="How often to look whether the gallery has changed; 0 for never.",
        ),
    ] = 30.0,
    force: Force = False,
    as_json: Json = False,
    follow_links: FollowLinks = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
    log_format: LogFormat = "text",
) -> None:
    """Write a model repository from which Triton searches a gallery with BUNDLE.

    Its models are itr_search, text_encoder and image_encoder; beside them are client.py and
    environment.txt, the packages that itr_search needs.
    """
    made = itr_deploy.triton(
        bundle,
        gallery=gallery,
        output=output,
        copy=copy,
        device=device,
        max_batch=max_batch,
        max_wait_ms=max_wait_ms,
        max_queue=max_queue,
        request_timeout=request_timeout,
        max_k=max_k,
        refresh=refresh,
        force=force,
    )
    if as_json:
        print_json(made.to_json())
        return
    for name, backend in made.models.items():
        typer.echo(f"{name}: {backend}")
    typer.echo(f"repository: {made.repository}")
