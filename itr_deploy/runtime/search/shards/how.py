"""How shards are held and asked."""

from __future__ import annotations

from dataclasses import dataclass

from itr_deploy.runtime.matcher import Matcher
from itr_deploy.runtime.search.narrowing import Narrowing
from itr_deploy.runtime.search.shards.searcher import Missing


@dataclass(frozen=True)
class How:
    """How shards are held and asked.

    Attributes:
        ray: Address of Ray's cluster, None for this process.
        replicas: Of every shard.
        missing: What becomes of a search where a shard does not answer.
        timeout: Seconds that a search may take.
        threads: Compute threads of every replica, None to choose.
        memory_budget: Bytes of tensors that each keeps in memory.
        resident: See `Retriever.load`.
        device: Of every replica.
        backend: Of every replica.
    """

    ray: str | None
    replicas: int
    missing: Missing
    timeout: float
    threads: int | None
    memory_budget: int
    resident: bool | None
    device: str
    backend: str


def parts_of(matcher: Matcher) -> frozenset[Narrowing]:
    """Which parts of a matcher narrow shortlists."""
    given: dict[Narrowing, object] = {"prefilter": matcher.prefilter, "refine": matcher.refiner}
    return frozenset(name for name, part in given.items() if part is not None)
