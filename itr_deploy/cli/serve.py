"""``itr-deploy serve``: a bundle and a gallery as an HTTP service."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated, Literal

import typer

import itr_deploy
from itr_deploy.cli import logs, options
from itr_deploy.cli.local_ray import WithLocalRay
from itr_deploy.cli.options import Bundle, FollowLinks, Threads, Verbose, from_environment
from itr_deploy.cli.parsers import byte_size

app = typer.Typer(add_completion=False)

LISTEN, LIMITS, ACCESS, LIFE = "Where it listens", "How much it takes on", "Who may ask", "Changes"
SHARDS = "A gallery in shards"

Missing = Literal["refuse", "partial"]

Host = Annotated[
    str,
    typer.Option(
        envvar="ITR_DEPLOY_HOST",
        help="The address to listen on; 0.0.0.0 for all of the machine's.",
        rich_help_panel=LISTEN,
    ),
]
Port = Annotated[
    int,
    typer.Option(
        envvar="ITR_DEPLOY_PORT",
        min=0,
        max=65535,
        help="The port; 0 for any that is free.",
        rich_help_panel=LISTEN,
    ),
]
ApiKeyFile = Annotated[
    Path | None,
    typer.Option(
        envvar="ITR_DEPLOY_API_KEY_FILE",
        help="File of keys, one a line; whoever asks must send one of them.",
        rich_help_panel=ACCESS,
    ),
]
QueryBudget = Annotated[
    int,
    typer.Option(
        envvar="ITR_DEPLOY_QUERY_BUDGET",
        parser=byte_size,
        metavar="SIZE",
        show_default="32MiB",
        help="Encoded texts to keep for when they are asked again; 0 for none.",
        rich_help_panel=LIMITS,
    ),
]
# A container has nothing but variables to tell it.
Device = Annotated[str, from_environment(options.Device, "ITR_DEPLOY_DEVICE")]
Backend = Annotated[str, from_environment(options.Backend, "ITR_DEPLOY_BACKEND")]
Quiet = Annotated[bool, from_environment(options.Quiet, "ITR_DEPLOY_QUIET")]
LogFormat = Annotated[logs.LogFormat, from_environment(options.LogFormat, "ITR_DEPLOY_LOG_FORMAT")]


@app.command(cls=WithLocalRay)
def serve(
    bundle: Bundle,
    *,
    gallery: Annotated[
        Path,
        typer.Option(
            envvar="ITR_DEPLOY_GALLERY",
            help="The gallery: a directory, s3://bucket/gallery, gs:// or az://; or, in shards, "
            "its shards.json.",
        ),
    ],
    bank: Annotated[
        Path | None,
        typer.Option(
            envvar="ITR_DEPLOY_BANK", help="A gallery of the other modality, for re-ranking."
        ),
    ] = None,
    detector: Annotated[
        Path | None,
        typer.Option(
            envvar="ITR_DEPLOY_DETECTOR",
            help="Bundle of the region detector, for pictures as queries.",
        ),
    ] = None,
    pictures: Annotated[
        Path | None,
        typer.Option(
            envvar="ITR_DEPLOY_PICTURES",
            help="Directory of the gallery's pictures, named by the items' ids, with or without "
            "the files' ending; the page shows them.",
        ),
    ] = None,
    picture_names: Annotated[
        str | None,
        typer.Option(
            envvar="ITR_DEPLOY_PICTURE_NAMES",
            metavar="COLUMN",
            help="The gallery's column with the pictures' names, if these are not the ids.",
        ),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(
            envvar="ITR_DEPLOY_RAY",
            metavar="[ADDRESS]",
            help="Hold the shards in Ray's actors: on the cluster at this address, or without one "
            "on this machine; otherwise they are in this process.",
            show_default=False,
            rich_help_panel=SHARDS,
        ),
    ] = None,
    replicas: Annotated[
        int,
        typer.Option(
            envvar="ITR_DEPLOY_REPLICAS",
            min=1,
            max=64,
            help="--ray's actors of every shard.",
            rich_help_panel=SHARDS,
        ),
    ] = 1,
    missing_shards: Annotated[
        Missing,
        typer.Option(
            envvar="ITR_DEPLOY_MISSING_SHARDS",
            help="What is answered while a shard has no actor that answers: 503, or the hits of "
            "the others, marked as partial.",
            rich_help_panel=SHARDS,
        ),
    ] = "refuse",
    shard_threads: Annotated[
        int | None,
        typer.Option(
            envvar="ITR_DEPLOY_SHARD_THREADS",
            min=1,
            max=1024,
            help="Compute threads of every actor; by default the cluster's CPUs, divided.",
            rich_help_panel=SHARDS,
        ),
    ] = None,
    shard_timeout: Annotated[
        float,
        typer.Option(
            envvar="ITR_DEPLOY_SHARD_TIMEOUT",
            metavar="SECONDS",
            help="After this time a shard that does not answer is given up.",
            rich_help_panel=SHARDS,
        ),
    ] = 8.0,
    host: Host = "127.0.0.1",
    port: Port = 8080,
    max_batch: Annotated[
        int,
        typer.Option(
            envvar="ITR_DEPLOY_MAX_BATCH",
            min=1,
            max=1024,
            help="Most queries that are searched in one call.",
            rich_help_panel=LIMITS,
        ),
    ] = 8,
    max_wait_ms: Annotated[
        float,
        typer.Option(
            envvar="ITR_DEPLOY_MAX_WAIT_MS",
            min=0.0,
            max=1000.0,
            help="Milliseconds that a query waits for others that are on their way.",
            rich_help_panel=LIMITS,
        ),
    ] = 2.0,
    max_queue: Annotated[
        int,
        typer.Option(
            envvar="ITR_DEPLOY_MAX_QUEUE",
            min=1,
            max=100_000,
            help="Requests that may wait; a further one is answered 429.",
            rich_help_panel=LIMITS,
        ),
    ] = 64,
    request_timeout: Annotated[
        float,
        typer.Option(
            envvar="ITR_DEPLOY_REQUEST_TIMEOUT",
            metavar="SECONDS",
            help="After this time a request is answered 504.",
            rich_help_panel=LIMITS,
        ),
    ] = 10.0,
    max_body: Annotated[
        int,
        typer.Option(
            envvar="ITR_DEPLOY_MAX_BODY",
            parser=byte_size,
            metavar="SIZE",
            show_default="8MiB",
            help="A larger body of a request is answered 413.",
            rich_help_panel=LIMITS,
        ),
    ] = 8 << 20,
    max_texts: Annotated[
        int,
        typer.Option(
            envvar="ITR_DEPLOY_MAX_TEXTS",
            min=1,
            max=100_000,
            help="Most texts, ids or documents of a request.",
            rich_help_panel=LIMITS,
        ),
    ] = 64,
    max_k: Annotated[
        int,
        typer.Option(
            envvar="ITR_DEPLOY_MAX_K",
            min=1,
            help="Most hits of a query.",
            rich_help_panel=LIMITS,
        ),
    ] = 1000,
    memory_budget: Annotated[
        int,
        typer.Option(
            envvar="ITR_DEPLOY_MEMORY_BUDGET",
            parser=byte_size,
            metavar="SIZE",
            show_default="4GiB",
            help="Tensors to keep in memory, of the gallery and of the bank each; a larger "
            "gallery is searched on disk.",
            rich_help_panel=LIMITS,
        ),
    ] = 4 << 30,
    query_budget: QueryBudget = 32 << 20,
    api_key_file: ApiKeyFile = None,
    admin_key_file: Annotated[
        Path | None,
        typer.Option(
            envvar="ITR_DEPLOY_ADMIN_KEY_FILE",
            help="File of keys for /admin/reload, which is not there without it.",
            rich_help_panel=ACCESS,
        ),
    ] = None,
    cors_origin: Annotated[
        list[str] | None,
        typer.Option(
            envvar="ITR_DEPLOY_CORS_ORIGIN",
            metavar="ORIGIN",
            help="Web pages of this origin may ask from a browser; may be repeated.",
            rich_help_panel=ACCESS,
        ),
    ] = None,
    refresh: Annotated[
        float,
        typer.Option(
            envvar="ITR_DEPLOY_REFRESH",
            metavar="SECONDS",
            help="How often to look whether the gallery has changed; 0 for never.",
            rich_help_panel=LIFE,
        ),
    ] = 30.0,
    drain_delay: Annotated[
        float,
        typer.Option(
            envvar="ITR_DEPLOY_DRAIN_DELAY",
            metavar="SECONDS",
            help="After SIGTERM requests are taken for this time, while /readyz says no more.",
            rich_help_panel=LIFE,
        ),
    ] = 5.0,
    drain_timeout: Annotated[
        float,
        typer.Option(
            envvar="ITR_DEPLOY_DRAIN_TIMEOUT",
            metavar="SECONDS",
            help="What requests in flight have after that.",
            rich_help_panel=LIFE,
        ),
    ] = 30.0,
    device: Device = "cpu",
    backend: Backend = "auto",
    threads: Threads = None,
    follow_links: FollowLinks = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
    log_format: LogFormat = "text",
) -> None:
    """Search a gallery over HTTP with a BUNDLE, and show a page to search it with.

    Every option but -v may also be given as an environment variable, as named below.
    """
    if not quiet:
        show_requests()
    code = itr_deploy.serve(
        bundle,
        gallery=gallery,
        bank=bank,
        detector=detector,
        pictures=pictures,
        picture_names=picture_names,
        ray=ray,
        replicas=replicas,
        missing_shards=missing_shards,
        shard_threads=shard_threads,
        shard_timeout=shard_timeout,
        host=host,
        port=port,
        max_batch=max_batch,
        max_wait_ms=max_wait_ms,
        max_queue=max_queue,
        request_timeout=request_timeout,
        max_body=max_body,
        max_texts=max_texts,
        max_k=max_k,
        api_key_file=api_key_file,
        admin_key_file=admin_key_file,
        cors_origin=cors_origin or (),
        refresh=refresh,
        drain_delay=drain_delay,
        drain_timeout=drain_timeout,
        memory_budget=memory_budget,
        query_budget=query_budget,
        device=device,
        backend=backend,
        ready=told_ready,
    )
    if code:
        raise typer.Exit(code)


def show_requests() -> None:
    """Log every request and what becomes of the service, as a server is expected to."""
    for name in ("itr_deploy.serving", "itr_deploy.deploy.serving"):
        logging.getLogger(name).setLevel(min(logging.INFO, logs.LIBRARY.level))
    for name in ("uvicorn", "asyncio"):
        others = logging.getLogger(name)
        others.setLevel(logging.WARNING)
        others.handlers = [logs.SHOWN]


def told_ready(url: str) -> None:
    """Say where the page is."""
    typer.echo(f"ready: {url}")
