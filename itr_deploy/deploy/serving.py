"""`serve`: a bundle and a gallery as an HTTP service."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from socket import socket
from typing import TYPE_CHECKING, Any

from itr_deploy.bundle.store import read_bundle
from itr_deploy.deploy.picture_names import check_picture_names
from itr_deploy.errors import SetupError, UsageError
from itr_deploy.runtime.gallery import Gallery
from itr_deploy.runtime.gallery.gallery import check_encoding
from itr_deploy.runtime.gallery.sharding.opening import open_shard
from itr_deploy.runtime.gallery.sharding.shards import Shards, is_shards
from itr_deploy.runtime.retriever import (
    DEFAULT_BUDGET,
    MOST_REPLICAS,
    QUERY_BUDGET,
    Retriever,
    check_shards,
)
from itr_deploy.runtime.search.shards.searcher import Missing
from itr_deploy.values import FUNCTION, GALLERY, PATH, TEXT, checked, choice, each, real, whole

if TYPE_CHECKING:
    from itr_deploy.serving.settings import Settings

log = logging.getLogger(__name__)

SHARD_TIMEOUT = 8.0
"""Seconds: less than a request has, so that the answer is still in time."""

_SECONDS = real("a number of seconds of at least 0", at_least=0.0, at_most=86_400.0)
_POSITIVE = real("a number of seconds above 0", above=0.0, at_most=86_400.0)


@checked(
    bundle=PATH,
    gallery=GALLERY,
    bank=GALLERY,
    detector=PATH,
    pictures=PATH,
    picture_names=TEXT,
    ray=TEXT,
    replicas=whole(1, MOST_REPLICAS),
    missing_shards=choice(Missing),
    shard_threads=whole(1, 1024),
    shard_timeout=_POSITIVE,
    host=TEXT,
    port=whole(0, 65535),
    max_batch=whole(1, 1024),
    max_wait_ms=real("a number of milliseconds from 0 to 1000", at_least=0.0, at_most=1000.0),
    max_queue=whole(1, 100_000),
    request_timeout=_POSITIVE,
    max_body=whole(1024),
    max_texts=whole(1, 100_000),
    max_k=whole(1),
    api_key_file=PATH,
    admin_key_file=PATH,
    cors_origin=each(TEXT),
    refresh=_SECONDS,
    drain_delay=_SECONDS,
    drain_timeout=_POSITIVE,
    memory_budget=whole(0),
    query_budget=whole(0),
    device=TEXT,
    backend=TEXT,
    threads=whole(1, 1024),
    ready=FUNCTION,
)
def serve(
    bundle: str | Path,
    *,
    gallery: str | Path,
    bank: str | Path | None = None,
    detector: str | Path | None = None,
    pictures: str | Path | None = None,
    picture_names: str | None = None,
    ray: str | None = None,
    replicas: int = 1,
    missing_shards: Missing = "refuse",
    shard_threads: int | None = None,
    shard_timeout: float = SHARD_TIMEOUT,
    host: str = "127.0.0.1",
    port: int = 8080,
    max_batch: int = 8,
    max_wait_ms: float = 2.0,
    max_queue: int = 64,
    request_timeout: float = 10.0,
    max_body: int = 8 << 20,
    max_texts: int = 64,
    max_k: int = 1000,
    api_key_file: str | Path | None = None,
    admin_key_file: str | Path | None = None,
    cors_origin: Sequence[str] = (),
    refresh: float = 30.0,
    drain_delay: float = 5.0,
    drain_timeout: float = 30.0,
    memory_budget: int = DEFAULT_BUDGET,
    query_budget: int = QUERY_BUDGET,
    device: str = "cpu",
    backend: str = "auto",
    threads: int | None = None,
    ready: Callable[[str], object] = lambda url: None,
) -> int:
    """Search a gallery over HTTP until a signal ends it.

    Listens at once, and answers 503 until bundle and gallery are loaded and a search has succeeded.
    Requests wait in a bounded queue for one thread, which searches alike ones in one call. Changes
    of the gallery by other processes are picked up while searches go on.

    Args:
        bundle: The bundle's directory.
        gallery: The gallery, or the ``shards.json`` of one in shards.
        bank: A gallery of the other modality, for re-ranking.
        detector: The bundle of the region detector, for pictures as queries.
        pictures: Directory of the gallery's pictures, named by the items' ids, with or without the
            files' ending; they are shown on the page and by ``/v1/items/{id}/picture``.
        picture_names: The gallery's column with the pictures' names, if these are not the ids.
        ray: Address of the Ray cluster whose actors hold the shards, ``"local"`` for one that is
            started here; None for shards in this process.
        replicas: Actors of every shard.
        missing_shards: What is answered while a shard has no actor that answers: ``"refuse"`` for
            503, ``"partial"`` for the hits of the others, marked as partial.
        shard_threads: Compute threads of every actor; by default the cluster's CPUs, divided.
        shard_timeout: Seconds after which a shard that does not answer is given up.
        host: The address to listen on; 0.0.0.0 for all of the machine's.
        port: The port; 0 for any that is free.
        max_batch: Most queries that are searched in one call.
        max_wait_ms: Milliseconds that a query waits for others that are on their way.
        max_queue: Requests that may wait; a further one is answered 429.
        request_timeout: Seconds until a request is answered 504.
        max_body: Bytes of a request's body; a larger one is answered 413.
        max_texts: Most texts, ids or documents of a request.
        max_k: Most hits of a query.
        api_key_file: File of keys, one a line; whoever asks must have one of them.
        admin_key_file: File of keys for ``/admin/reload``, which is not there without it.
        cors_origin: Origins whose web pages may ask from a browser; ``*`` for any.
        refresh: Seconds between looks at whether the gallery has changed; 0 for never.
        drain_delay: Seconds after SIGTERM in which requests are still taken, while ``/readyz`` says
            that there will be no more.
        drain_timeout: Seconds that requests in flight have after that.
        memory_budget: Bytes of tensors to keep in memory, for the gallery and the bank each; with
            ``ray`` for every actor.
        query_budget: Bytes of encoded texts to keep for when they are asked again; 0 for none.
        device: ``"cpu"`` or ``"cuda"``.
        backend: The backend that runs the graphs, see `Matcher.load`.
        threads: Compute threads on the CPU, see `Retriever.load`.
        ready: Called with the address once searches are answered.

    Returns:
        The exit code: 0 after a signal, 4 if computing ended by a fault.

    Raises:
        BundleError: The bundle is damaged.
        GalleryError: The gallery is missing or was made with another bundle.
        InputError: There is no such directory of pictures, or a file of keys cannot be used.
        SetupError: FastAPI or uvicorn is not installed, or the address is taken.
        UsageError: An argument has an invalid value.
    """
    check_can_serve()
    from itr_deploy.serving.settings import Settings, check_origins, read_keys

    settings = Settings(
        max_batch=max_batch,
        max_wait=max_wait_ms / 1e3,
        max_queue=max_queue,
        request_timeout=request_timeout,
        max_body=max_body,
        max_texts=max_texts,
        max_k=max_k,
        keys=() if api_key_file is None else read_keys(api_key_file, "api_key_file"),
        admin_keys=() if admin_key_file is None else read_keys(admin_key_file, "admin_key_file"),
        cors_origins=check_origins(tuple(cors_origin)),
        refresh=refresh,
        drain_delay=drain_delay,
        drain_timeout=drain_timeout,
        pictures=None if pictures is None else Path(pictures),
        picture_names=picture_names,
    )
    if picture_names is not None and pictures is None:
        raise UsageError("picture_names= (--picture-names) is for pictures= (--pictures); give it")
    sharded = is_shards(gallery)
    check_shards(
        sharded,
        ray=ray,
        replicas=replicas,
        missing_shards=missing_shards,
        shard_threads=shard_threads,
        bank=bank,
    )
    _check(bundle, gallery, picture_names)
    shards: dict[str, Any] = {}
    if sharded:
        shards = {
            "ray": ray,
            "replicas": replicas,
            "missing_shards": missing_shards,
            "shard_threads": shard_threads,
            "shard_timeout": shard_timeout,
        }
    with listening_on(host, port) as listening:
        return run(
            settings,
            listening,
            bundle,
            lambda: Retriever.load(
                # A whole path, which messages to clients name otherwise.
                Path(bundle).absolute(),
                gallery,
                device=device,
                threads=threads,
                memory_budget=memory_budget,
                query_budget=query_budget,
                backend=backend,
                bank=bank,
                detector=detector,
                **shards,
            ),
            ready,
        )


def check_can_serve() -> None:
    """Refuse where what a service is made of is not installed.

    Raises:
        SetupError: It is not.
    """
    for name in ("fastapi", "httptools", "prometheus_client", "uvicorn"):
        if find_spec(name) is None:
            raise SetupError(
                f"a service needs {name}, which is not installed; pip install 'itr-deploy[serve]'"
            )


@contextmanager
def listening_on(host: str, port: int) -> Iterator[socket]:
    """A socket that listens, for `run`; taken before any work, and closed after it.

    Raises:
        SetupError: The address is taken, or not this machine's.
        UsageError: The host is none.
    """
    from itr_deploy.serving.server import listening_socket

    with listening_socket(host, port) as listening:
        yield listening


def run(
    settings: Settings,
    listening: socket,
    bundle: str | Path,
    load: Callable[[], Retriever],
    ready: Callable[[str], object],
) -> int:
    """Serve until a signal comes.

    Args:
        settings: What the service is told.
        listening: Where it listens.
        bundle: The bundle, which names the service.
        load: Makes the retriever.
        ready: Called with the address once searches are answered.

    Returns:
        The exit code.
    """
    from itr_deploy.serving import server
    from itr_deploy.serving.service import Service

    service = Service(settings, load, Path(os.path.abspath(bundle)).name)  # noqa: PTH100
    log.info("listening on %s, loading", server.address_of(listening))
    return server.run(service, listening, ready)


def _check(bundle: str | Path, gallery: str | Path, picture_names: str | None) -> None:
    """Refuse at once what loading would refuse after a while.

    Raises:
        BundleError: The bundle is damaged.
        GalleryError: The gallery is missing or was made with another bundle.
        UsageError: There is no column of the pictures' names.
    """
    if is_shards(gallery):
        shards = Shards.open(gallery)
        shards.check_encoding(read_bundle(bundle))
        if picture_names is not None:
            # All shards have the columns of the first.
            check_picture_names(open_shard(shards.paths[0]), picture_names)
        return
    opened = Gallery.open(gallery)
    check_encoding(read_bundle(bundle), opened.path, opened.description)
    check_picture_names(opened, picture_names)
