"""The parts of a gallery by actors of Ray: what one loses, the next process of it goes on with.

An actor is told paths and numbers and opens everything itself, since sessions of ONNX Runtime
cannot be sent. Parts lie on a disk that all of them see, so that Ray carries no items.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from itr_deploy.deploy.bulk.work import Work, opened
from itr_deploy.deploy.index_request import IndexRequest
from itr_deploy.errors import ItrDeployError, SetupError
from itr_deploy.runtime.cluster import join, leave, library, machines
from itr_deploy.runtime.cpus import use_threads
from itr_deploy.runtime.gallery.bulk.place import Place
from itr_deploy.runtime.gallery.bulk.plan import Plan

PARTS = 4
"""Parts an actor by default: the first to end takes over from the others."""
RESTARTS = 10
"""Times that an actor is started again."""
LOCK = 60.0
"""Seconds that a part waits at least for the process that made it on a machine that is lost."""
ASKED = 1.0
"""Seconds between two looks at how far the actors are."""


@dataclass(frozen=True)
class Cluster:
    """Where actors run.

    Attributes:
        address: Of the cluster, or `cluster.LOCAL`.
        actors: How many, None for one a machine.
        threads: Threads that each computes on, None for all of its machine.
    """

    address: str
    actors: int | None
    threads: int | None


class PartMaker:
    """An actor: opens what it is told of when it is first asked, and makes one part after another.

    Ray calls `reached` while `make` runs, from another thread.
    """

    def __init__(
        self, request: IndexRequest, output: Path, threads: int, lock_timeout: float
    ) -> None:
        # Ray's own OMP_NUM_THREADS means nothing to ONNX Runtime.
        use_threads(threads)
        self._request, self._output = request, output
        self._lock_timeout = max(LOCK, lock_timeout)
        self._work: Work | None = None
        self._reached = 0

    def plan(self, parts: int | None, default: int) -> str:
        """The plan as JSON; ``default`` parts at most, where neither it nor the caller says."""
        self._work = self._opened(parts if parts is not None else lambda most: min(default, most))
        return self._work.plan.model_dump_json()

    def make(self, part: int, parts: int) -> None:
        """Make a part, or find it finished."""
        self._reached = 0
        if self._work is None:
            self._work = self._opened(parts)
        self._work.make(part, lock_timeout=self._lock_timeout, progress=self._advance)

    def reached(self) -> int:
        """Items of the current part that are done."""
        return self._reached

    def _advance(self, done: int) -> None:
        self._reached = done

    def _opened(self, parts: int | Callable[[int], int]) -> Work:
        return opened(*(self._request, self._output, parts, self._lock_timeout), lambda *step: None)


def make_parts(
    request: IndexRequest,
    output: Path,
    cluster: Cluster,
    parts: int | None,
    *,
    lock_timeout: float,
    progress: Callable[[int, int], None],
    tell: Callable[[str], None],
) -> Plan:
    """Make all parts that are not finished.

    Args:
        request: What to index.
        output: The gallery.
        cluster: Where the actors run.
        parts: Number of parts, by default what the parts that are there say, or `PARTS` an actor.
        lock_timeout: Seconds to wait for another process that makes a part.
        progress: Called with the number of items that are done, and of all.
        tell: Called with a line on what is waited for.

    Raises:
        ItrDeployError: What a part raised.
        SetupError: Ray is not installed, there is no cluster, or actors end again and again.
    """
    ray = library()
    # A cluster of one's own ends its actors itself.
    stays = ray.is_initialized()
    with _connected(ray, cluster) as (actors, threads):
        free = ray.cluster_resources().get("CPU", 0)
        if free < actors * threads:
            tell(f"Ray has {free:g} CPUs for {actors} actors of {threads} threads; some will wait")
        kind = ray.remote(PartMaker).options(
            num_cpus=threads,
            num_gpus=1 if request.device == "cuda" else 0,
            max_restarts=RESTARTS,
            # As often as the actor comes back: where a machine is lost, some calls in a second
            # find it unavailable before Ray knows.
            max_task_retries=-1,
            max_concurrency=2,
        )
        told = IndexRequest(**{**vars(request), **_absolute(request)})
        makers = [
            kind.remote(told, output.absolute(), threads, lock_timeout) for _ in range(actors)
        ]
        try:
            first = makers[0].plan.remote(parts, PARTS * actors)
            plan = Plan.model_validate_json(_answer(ray, first, "the plan"))
            _make_all(ray, makers, plan, Place(output), progress)
        finally:
            for maker in makers if stays else ():
                ray.kill(maker)
    return plan


def _make_all(
    ray: Any, makers: list[Any], plan: Plan, place: Place, progress: Callable[[int, int], None]
) -> None:
    waiting = deque(part for part in range(plan.parts) if not place.part(part).exists())
    done = plan.items - sum(len(plan.numbers(part)) for part in waiting)
    free, running = deque(makers), dict[Any, tuple[int, Any]]()
    progress(done, plan.items)
    while waiting or running:
        while waiting and free:
            maker, part = free.popleft(), waiting.popleft()
            running[maker.make.remote(part, plan.parts)] = part, maker
        ended, _ = ray.wait([*running], timeout=ASKED)
        for call in ended:
            part, maker = running.pop(call)
            _answer(ray, call, f"part {part}")
            done += len(plan.numbers(part))
            free.append(maker)
        progress(done + _reached(ray, [maker for _, maker in running.values()]), plan.items)


def _reached(ray: Any, makers: list[Any]) -> int:
    """Items that running actors have done; none of those that are being started again."""
    asked = [maker.reached.options(max_task_retries=0).remote() for maker in makers]
    answered, _ = ray.wait(asked, num_returns=len(asked), timeout=ASKED) if asked else ([], [])
    found = 0
    for call in answered:
        try:
            found += ray.get(call)
        except ray.exceptions.RayError:
            continue
    return found


def _answer(ray: Any, call: Any, what: str) -> Any:
    """What an actor returned.

    Raises:
        ItrDeployError: What it raised.
        SetupError: It ended, more often than it is started again.
    """
    try:
        return ray.get(call)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, ItrDeployError):
            raise error.cause from None
        raise
    except ray.exceptions.RayError as error:
        said = " ".join(str(error).split())[:200]
        raise SetupError(
            f"{what}: its process ended {RESTARTS + 1} times (out of memory?): {said}; the same "
            "command goes on from what is stored"
        ) from error


@contextmanager
def _connected(ray: Any, cluster: Cluster) -> Iterator[tuple[int, int]]:
    """A connection to the cluster, which is kept if there was one.

    Yields:
        Number of actors, and threads of each.
    """
    join(ray, cluster.address, (cluster.actors or 1) * (cluster.threads or 1))
    try:
        cpus = machines(ray)
        actors = cluster.actors or len(cpus)
        yield actors, cluster.threads or max(1, min(cpus) * len(cpus) // max(actors, len(cpus)))
    finally:
        leave(ray)


def _absolute(request: IndexRequest) -> dict[str, Path]:
    """The paths of a request from anywhere: an actor has a working directory of its own."""
    return {
        name: value.absolute() for name, value in vars(request).items() if isinstance(value, Path)
    }
