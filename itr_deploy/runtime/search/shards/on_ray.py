"""Shards in actors of Ray: each holds one and answers for it, and is started again when it ends.

An actor is told paths and opens everything itself, since sessions of ONNX Runtime cannot be sent.
Queries go through Ray's object store once a search, however many actors read them.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as LateError
from dataclasses import dataclass
from math import floor
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from itr_deploy.errors import ItrDeployError, SetupError
from itr_deploy.runtime.cluster import join, leave, library, machines
from itr_deploy.runtime.cpus import use_threads
from itr_deploy.runtime.encoding.encoded import Encoded
from itr_deploy.runtime.gallery.sharding.opening import open_shard
from itr_deploy.runtime.gallery.sharding.shards import Shards
from itr_deploy.runtime.matcher import Matcher
from itr_deploy.runtime.search.shards.gallery import LOADED, ShardedGallery
from itr_deploy.runtime.search.shards.held import HeldShard, Part
from itr_deploy.runtime.search.shards.how import How, parts_of
from itr_deploy.runtime.search.shards.replicas import Group, Member, Method
from itr_deploy.runtime.search.shards.shard import GoneError, LostError, ShardState, StaleError

log = logging.getLogger(__name__)

AT_ONCE = 8
"""Calls that an actor answers at a time: searches, and whether it lives while they run."""
SHARED = 64 << 10
"""Bytes of queries from which they go through the object store."""
MADE_AGAIN = 5.0
"""Seconds between two actors that are made for one replica, where Ray does not start it again."""


@dataclass(frozen=True)
class Told:
    """What an actor opens, and how; see `How`."""

    bundle: Path
    gallery: Path
    part: Part
    threads: int
    how: How


class ShardActor:
    """An actor: a `Shard`, loaded when it begins."""

    def __init__(self, told: Told) -> None:
        # Ray's own OMP_NUM_THREADS means nothing to ONNX Runtime.
        use_threads(told.threads)
        self._told = told
        self._loading = threading.Lock()
        self._held: HeldShard | None = None
        try:
            self._shard()
        except ItrDeployError as error:
            # Raised here, it would be the actor's end; whoever asks is told, and it is tried again.
            log.warning("%s: %s", told.gallery, error)

    def ask(self, method: Method, *args: Any) -> Any:
        """Call a method of the shard."""
        return getattr(self._shard(), method)(*args)

    def _shard(self) -> HeldShard:
        if self._held is None:
            with self._loading:
                if self._held is None:
                    self._held = _held(self._told)
        return self._held


def _held(told: Told) -> HeldShard:
    how = told.how
    matcher = Matcher.load(
        told.bundle, device=how.device, threads=told.threads, backend=how.backend
    )
    return HeldShard(
        matcher,
        open_shard(Path(told.gallery), matcher),
        told.part,
        memory_budget=how.memory_budget,
        resident=how.resident,
        kept=how.timeout,
    )


class RayReplica:
    """A replica in an actor; another one is made where Ray does not start it again."""

    def __init__(self, ray: Any, make: Callable[[], Any]) -> None:
        """Make the actor.

        Args:
            ray: The module.
            make: Makes an actor.
        """
        self._ray, self._make = ray, make
        self.actor = make()
        self._made, self._gone = monotonic(), False

    def ask(self, method: Method, *args: Any) -> Future[Any]:
        """Have a method of the shard called."""
        answer: Future[Any] = Future()
        if not self._ray.is_initialized():
            # For a call Ray would start another cluster, which nobody ends.
            answer.set_exception(LostError("its cluster was left"))
            return answer
        if self._gone and monotonic() - self._made > MADE_AGAIN:
            self._made, self._gone = monotonic(), False
            self.actor = self._make()

        def ended(future: Future[Any]) -> None:
            error = future.exception()
            if error is None:
                answer.set_result(future.result())
                return
            own = _of_ray(self._ray, error)
            self._gone = self._gone or isinstance(own, GoneError)
            answer.set_exception(own)

        try:
            self.actor.ask.remote(method, *args).future().add_done_callback(ended)
        except self._ray.exceptions.RayError as error:
            answer.set_exception(_of_ray(self._ray, error))
        return answer


def _of_ray(ray: Any, error: BaseException) -> BaseException:
    """What an actor raised, or that it is lost."""
    known = ray.exceptions
    if isinstance(error, known.RayTaskError):
        cause = error.cause
        return cause if isinstance(cause, (ItrDeployError, StaleError)) else error
    said = " ".join(str(error).split())[:120]
    if isinstance(error, known.ActorDiedError):
        return GoneError(f"its process has ended: {said}")
    return LostError(f"its process does not answer: {said}")


def on_ray(matcher: Matcher, shards: Shards, how: How) -> ShardedGallery:
    """Hold every shard in actors, and wait until all have loaded.

    Raises:
        BundleError: The bundle has no graphs for what a shard stores.
        GalleryError: A shard is missing, damaged, or was made with another bundle.
        SetupError: Ray is not installed, no cluster answers, or it has no room for the actors.
    """
    ray = library()
    assert how.ray is not None
    count = len(shards) * how.replicas
    join(ray, how.ray, count * (how.threads or 1))
    replicas: list[list[RayReplica]] = []

    def close() -> None:
        # At the process's end Ray may have left before.
        if ray.is_initialized():
            for replica in [replica for group in replicas for replica in group]:
                ray.kill(replica.actor)
            leave(ray)

    try:
        threads, options = _room(ray, count, how)
        kind = ray.remote(ShardActor).options(
            **options,
            max_restarts=-1,
            # A search asks another replica, or goes without: it does not wait for a process.
            max_task_retries=0,
            max_concurrency=AT_ONCE,
            scheduling_strategy="SPREAD",
        )
        bundle = matcher.bundle.path.absolute()
        for number, path in enumerate(shards.paths):
            told = Told(bundle, path.absolute(), Part(number, len(shards)), threads, how)
            make = _maker(kind, told)
            replicas.append([RayReplica(ray, make) for _ in range(how.replicas)])
        until = monotonic() + LOADED
        groups = [
            Group(
                path.name,
                [
                    Member(replica, f"{path.name}, replica {place}", _loaded(replica, path, until))
                    for place, replica in enumerate(own)
                ],
            )
            for path, own in zip(shards.paths, replicas, strict=True)
        ]
        return ShardedGallery(
            shards,
            groups,
            missing=how.missing,
            timeout=how.timeout,
            parts=parts_of(matcher),
            share=lambda queries: ray.put(queries) if _bytes(queries) > SHARED else queries,
            close=close,
            watched=True,
        )
    except BaseException:
        close()
        raise


def _maker(kind: Any, told: Told) -> Callable[[], Any]:
    return lambda: kind.remote(told)


def _room(ray: Any, count: int, how: How) -> tuple[int, dict[str, float]]:
    """Threads of an actor, and what it takes of the cluster: less where all have no room."""
    cpus = sum(machines(ray))
    threads = how.threads or max(1, cpus // count)
    options = {"num_cpus": _part(threads, cpus / count), "num_gpus": 0.0}
    if options["num_cpus"] < threads:
        log.warning("Ray has %d CPUs for %d replicas of %d threads", cpus, count, threads)
    if how.device == "cuda":
        options["num_gpus"] = _part(1, ray.cluster_resources().get("GPU", 0) / count)
    # Half, so that others have room beside these while they take their place.
    taken = {name: own / 2 for name, own in options.items()}
    free = ray.available_resources().get("CPU", 0)
    if free < count * taken["num_cpus"]:
        log.warning(
            "Ray has %g CPUs free for %d replicas that take %g each; some wait for room",
            *(free, count, taken["num_cpus"]),
        )
    return threads, taken


def _part(wanted: float, share: float) -> float:
    return wanted if share >= wanted else max(0.02, floor(50 * share) / 50)


def _loaded(replica: RayReplica, path: Path, until: float) -> ShardState:
    """What a replica holds once it has loaded.

    Raises:
        ItrDeployError: It cannot load.
        SetupError: It is not placed or not done in time, or its process ends.
    """
    while True:
        try:
            state: ShardState = replica.ask("state").result(max(0.0, until - monotonic()))
            return state
        except LateError as error:
            raise SetupError(
                f"{path}: not loaded within {LOADED:.0f} s: has the cluster room for all replicas, "
                "and do all machines see this path?"
            ) from error
        except LostError as error:
            if isinstance(error, GoneError) or monotonic() > until:
                raise SetupError(f"{path}: {error}") from error
            sleep(0.5)


def _bytes(queries: Encoded) -> int:
    tensors = [array.nbytes for block in queries.blocks for array in block.arrays]
    return queries.embedding.nbytes + sum(tensors)
