"""What a model repository is written with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Settings:
    """How Triton is to serve.

    Attributes:
        bundle: The bundle's path, absolute or relative to the search model's version directory.
        gallery: The gallery's path, likewise.
        device: ``"cpu"`` or ``"cuda"``.
        max_batch: Most queries of a request of the search model, and of those searched together.
        max_wait_ms: Milliseconds that a request waits for others to be computed with.
        max_queue: Most requests that wait for a model.
        request_timeout: Seconds after which a waiting request is refused.
        max_k: Most hits of a query.
        refresh: Seconds between looks for changes of the gallery, 0 for never.
    """

    bundle: Path
    gallery: Path
    device: str
    max_batch: int
    max_wait_ms: float
    max_queue: int
    request_timeout: float
    max_k: int
    refresh: float
