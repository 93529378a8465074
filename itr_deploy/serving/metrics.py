"""What a service counts and times, for Prometheus."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from itr_deploy.runtime.timing import Stage

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
"""Seconds."""

SIZES = (1, 2, 4, 8, 16, 32, 64)
"""Queries of a call."""


class Metrics:
    """The figures of one service, in a registry of its own."""

    def __init__(self) -> None:
        """All figures at nought."""
        self.registry = CollectorRegistry()
        told: dict[str, Any] = {"registry": self.registry}
        timed: dict[str, Any] = {"buckets": BUCKETS, **told}
        self.requests = Counter("itr_requests", "Requests answered.", ["route", "code"], **told)
        self.seconds = Histogram(
            "itr_request_seconds", "From a request's first byte to its answer.", ["route"], **timed
        )
        self.stages = Histogram(
            "itr_stage_seconds",
            "A stage of a search, of all queries of a call.",
            ["stage"],
            **timed,
        )
        self.queued = Histogram("itr_queue_seconds", "Waiting in the queue.", **timed)
        self.batch = Histogram(
            "itr_batch_queries", "Queries searched in one call.", buckets=SIZES, **told
        )
        self.depth = Gauge("itr_queue_depth", "Requests that wait.", **told)
        self.rejected = Counter(
            "itr_rejected", "Requests refused without being computed.", ["reason"], **told
        )
        self.items = Gauge("itr_gallery_items", "Items that are searched.", **told)
        self.gallery_version = Gauge(
            "itr_gallery_version", "Version of the gallery that is searched.", **told
        )
        self.shards = Gauge("itr_shards", "Shards of the gallery; 0 if it has none.", **told)
        self.living_shards = Gauge(
            "itr_shards_living", "Shards of which a replica answers.", **told
        )
        self.living_replicas = Gauge(
            "itr_shard_replicas_living", "Replicas of shards that answer.", **told
        )
        self.partial = Counter(
            "itr_partial_answers", "Searches answered without some shards.", **told
        )
        self.ready = Gauge("itr_ready", "1 if searches are answered.", **told)
        self.build = Gauge("itr_build_info", "1; see its labels.", ["version", "family"], **told)

    def told_of(self, family: str) -> None:
        """Say what is served."""
        self.build.labels(version("itr-deploy"), family).set(1)

    def staged(self, seconds: Mapping[Stage, float]) -> None:
        """Count the stages of a call."""
        for stage, taken in seconds.items():
            self.stages.labels(stage).observe(taken)

    def text(self) -> bytes:
        """All figures in Prometheus' text format."""
        return generate_latest(self.registry)
