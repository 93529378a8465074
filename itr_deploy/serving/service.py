"""A service: what it holds, its state, and how a request gets its answer."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from time import monotonic
from typing import Any

from itr_deploy.errors import ItrDeployError
from itr_deploy.runtime.retriever import Retriever
from itr_deploy.serving.held import Held, State, searched_by
from itr_deploy.serving.metrics import Metrics
from itr_deploy.serving.pictures import ShownPictures
from itr_deploy.serving.probe import probe
from itr_deploy.serving.queue import Compute, ComputeQueue, Job
from itr_deploy.serving.refusals import (
    RefusalError,
    dead,
    deadline_passed,
    refusal_of,
    unavailable,
)
from itr_deploy.serving.settings import Settings

log = logging.getLogger(__name__)

FRESH = 5.0
"""Seconds for which a search that succeeded shows that others will."""

PROBE_TIMEOUT = 5.0
"""Seconds that a probe has."""


class Service:
    """One bundle and one gallery, and the thread that searches."""

    def __init__(self, settings: Settings, load: Callable[[], Retriever], name: str) -> None:
        """Nothing is loaded yet, see `start`.

        Args:
            settings: What it is told.
            load: Makes the retriever.
            name: The bundle's name, as clients are told it.
        """
        self.settings, self.name = settings, name
        self.metrics = Metrics()
        self.held = Held(load, settings.refresh)
        self.queue = ComputeQueue(
            settings.max_queue,
            settings.max_batch,
            settings.max_wait,
            on_death=self._computing_ended,
            on_batch=self._counted,
        )
        self.on_end: Callable[[int], None] = lambda code: None
        """Called, in any thread, with the exit code where the service cannot go on."""
        self.on_ready: Callable[[], object] = lambda: None
        """Called, in another thread, once searches are answered."""
        self.pictures = (
            None
            if settings.pictures is None
            else ShownPictures(settings.pictures, settings.picture_names)
        )
        self._draining = False
        self._searched = 0.0
        self._probing: asyncio.Task[None] | None = None

    @property
    def state(self) -> State:
        """Whether it answers."""
        if self.queue.is_dead:
            return "dead"
        if self._draining:
            return "draining"
        return "ready" if self.held.is_loaded else "loading"

    @property
    def retriever(self) -> Retriever:
        """The retriever in use.

        Raises:
            RefusalError: It is being loaded.
        """
        return self.held.retriever

    def start(self) -> None:
        """Load in a thread, then search."""
        self.queue.start()
        threading.Thread(target=self._load, name="load", daemon=True).start()

    def drain(self) -> None:
        """Say from now on that the service is not ready; what is asked is answered all the same."""
        self._draining = True

    def close(self) -> None:
        """End all threads."""
        self.held.close()
        self.queue.close(timeout=1.0)

    def paths(self) -> dict[str, str]:
        """What clients are told in place of the server's paths; nothing names them before."""
        if not self.held.is_loaded:
            return {}
        retriever = self.retriever
        return {
            str(retriever.gallery.path): "the gallery",
            str(retriever.matcher.bundle.path): "the bundle",
        }

    async def answer(
        self,
        compute: Compute,
        payload: Any,
        *,
        kind: Hashable | None = None,
        size: int = 1,
        arrived: Callable[[], None] = lambda: None,
    ) -> tuple[Any, Job]:
        """Let the computing thread answer a request.

        Args:
            compute: Computes it, with others of an equal kind.
            payload: What to compute.
            kind: Requests of an equal kind may be computed together.
            size: How many queries it has.
            arrived: Called once it waits.

        Returns:
            The answer, and how it fared.

        Raises:
            RefusalError: It is refused, or fails.
        """
        self.held.retriever  # noqa: B018  # refuses while it is being loaded
        timeout = self.settings.request_timeout
        job = Job(compute, payload, kind, size, timeout)
        waiting = asyncio.wrap_future(self._put(job))
        arrived()
        try:
            answer = await asyncio.wait_for(waiting, timeout)
        except asyncio.TimeoutError:
            self.metrics.rejected.labels("deadline").inc()
            raise deadline_passed(timeout) from None
        except ItrDeployError as error:
            raise refusal_of(error, self.paths()) from error
        return answer, job

    def note_search(self) -> None:
        """A search has succeeded."""
        self._searched = monotonic()

    async def check_ready(self) -> None:
        """Show that searches succeed, by one that did a moment ago or by another one.

        Raises:
            RefusalError: They do not.
        """
        state = self.state
        if state == "draining":
            raise unavailable("draining", "the service is shutting down")
        if state == "dead":
            raise dead()
        retriever = self.retriever
        if monotonic() - self._searched > FRESH:
            # One for all who ask: each goes before everybody's searches.
            if self._probing is None or self._probing.done():
                self._probing = asyncio.ensure_future(self._probe(retriever))
            await asyncio.shield(self._probing)
        self.metrics.ready.set(1)

    async def _probe(self, retriever: Retriever) -> None:
        def compute(payloads: Sequence[Any]) -> Sequence[Any]:
            probe(retriever)
            return [None]

        job = Job(compute, None, None, 1, PROBE_TIMEOUT)
        try:
            await asyncio.wait_for(
                asyncio.wrap_future(self.queue.put(job, first=True)), PROBE_TIMEOUT
            )
        except RefusalError:
            raise
        except Exception as error:
            self.metrics.ready.set(0)
            log.error("a search to show that the service is ready failed: %r", error)
            raise unavailable("dead", "a search to show that the service is ready failed") from None
        self.note_search()

    def tell(self) -> None:
        """Bring up to date what is counted elsewhere."""
        self.metrics.depth.set(self.queue.depth)
        if self.state != "ready":
            self.metrics.ready.set(0)
        if self.held.is_loaded:
            self.metrics.told_of(self.retriever.matcher.bundle.manifest.family)
            version, count = searched_by(self.retriever)
            self.metrics.gallery_version.set(version)
            self.metrics.items.set(count)
            shards = self.retriever.shards or ()
            self.metrics.shards.set(len(shards))
            self.metrics.living_shards.set(sum(shard.living > 0 for shard in shards))
            self.metrics.living_replicas.set(sum(shard.living for shard in shards))

    def _put(self, job: Job) -> Any:
        try:
            return self.queue.put(job)
        except RefusalError as refusal:
            self.metrics.rejected.labels(refusal.code).inc()
            raise

    def _load(self) -> None:
        try:
            self.held.load()
            probe(self.retriever)
        except ItrDeployError as error:
            log.error("%s", error)
            self.on_end(error.exit_code)
            return
        except BaseException as error:
            log.error("loading failed: %r", error, exc_info=True)
            self.on_end(4)
            return
        self.note_search()
        self.metrics.ready.set(1)
        self.held.keep_fresh()
        self.on_ready()

    def _counted(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            self.metrics.queued.observe(job.waited)
        if jobs[0].kind is not None:
            self.metrics.batch.observe(sum(job.size for job in jobs))

    def _computing_ended(self, error: BaseException) -> None:
        log.critical("the computing thread has ended, and the service with it: %r", error)
        with suppress(Exception):
            self.metrics.ready.set(0)
        self.on_end(4)
