"""``itr-deploy up``: indexes what is new in a folder, then serves it."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import itr_deploy
from itr_deploy.cli.options import Bundle, FollowLinks, Split, Threads, Verbose
from itr_deploy.cli.parsers import byte_size
from itr_deploy.cli.progress import phase_bars, told
from itr_deploy.cli.serve import (
    LIMITS,
    ApiKeyFile,
    Backend,
    Device,
    Host,
    LogFormat,
    Port,
    QueryBudget,
    Quiet,
    show_requests,
    told_ready,
)

if TYPE_CHECKING:
    from itr_deploy.deploy.up import Indexed

app = typer.Typer(add_completion=False)
log = logging.getLogger(__name__)


@app.command()
def up(
    bundle: Bundle,
    source: Annotated[
        Path,
        typer.Argument(
            metavar="PICTURES|DATA",
            help="Directory of pictures, or of region features as index takes them.",
            show_default=False,
        ),
    ],
    *,
    gallery: Annotated[
        Path | None,
        typer.Option(
            envvar="ITR_DEPLOY_GALLERY",
            help="The gallery to make or to go on with; by default beside the directory, with its "
            "name and .gallery.",
        ),
    ] = None,
    detector: Annotated[
        Path | None,
        typer.Option(
            envvar="ITR_DEPLOY_DETECTOR",
            help="Bundle of the region detector that the model was trained with, for pictures.",
        ),
    ] = None,
    pictures: Annotated[
        Path | None,
        typer.Option(
            envvar="ITR_DEPLOY_PICTURES",
            help="Directory of the pictures that the features are of, for the page.",
        ),
    ] = None,
    split: Split = "test",
    host: Host = "127.0.0.1",
    port: Port = 8080,
    api_key_file: ApiKeyFile = None,
    memory_budget: Annotated[
        int,
        typer.Option(
            envvar="ITR_DEPLOY_MEMORY_BUDGET",
            parser=byte_size,
            metavar="SIZE",
            show_default="4GiB",
            help="Tensors of the gallery to keep in memory; a larger one is searched on disk.",
            rich_help_panel=LIMITS,
        ),
    ] = 4 << 30,
    query_budget: QueryBudget = 32 << 20,
    device: Device = "cpu",
    backend: Backend = "auto",
    threads: Threads = None,
    follow_links: FollowLinks = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
    log_format: LogFormat = "text",
) -> None:
    """Index what is new in a directory with a BUNDLE, and serve it with a page to search it.

    Run it again after changes: what is indexed already is not indexed again, and what is gone
    from the directory goes from the gallery.
    """
    if not quiet:
        show_requests()
    with ExitStack() as showing:
        tell = showing.enter_context(phase_bars())

        def indexed(result: Indexed) -> None:
            showing.close()
            _tell(result)

        code = itr_deploy.up(
            bundle,
            source,
            gallery=gallery,
            detector=detector,
            pictures=pictures,
            split=split,
            host=host,
            port=port,
            api_key_file=api_key_file,
            memory_budget=memory_budget,
            query_budget=query_budget,
            device=device,
            backend=backend,
            progress=partial(tell, "indexing"),
            tell=told,
            indexed=indexed,
            ready=told_ready,
        )
    if code:
        raise typer.Exit(code)


def _tell(result: Indexed) -> None:
    """Say what was indexed."""
    changes = [f"{result.added:,} indexed"]
    if result.removed:
        changes.append(f"{result.removed:,} removed")
    typer.echo(f"gallery: {result.gallery} ({result.items:,} images, {', '.join(changes)})")
    for why in result.broken.values():
        log.warning("left out: %s", why)
