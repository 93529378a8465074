"""What `bench` measures, and how often."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from itr_deploy.bundle.modality import Modality


@dataclass(frozen=True)
class Options:
    """The settings of a benchmark; every batch is searched with every width on all `threads`.

    Attributes:
        query: What the queries are.
        batches: Queries a search.
        widths: Candidates that the coarse embedding leaves for the matcher; None scores all items.
            Empty for what the bundle's pipeline says.
        prefilter: Items that it leaves for the prefilter, None for what the bundle says.
        threads: Threads that compute on the CPU; None for every core.
        rounds: Searches of every setting.
        k: Hits a query.
        device: See `open_backend`.
        backend: See `open_backend`.
        resident: Whether the gallery is in memory; None decides by its size, as a search does.
        bank: A gallery to re-rank with, None not to re-rank.
        trace: Whether ONNX Runtime profiles its graphs.
        checkpoints: Of the plain model to compare with, one a member of an ensemble, or none.
    """

    query: Modality
    batches: tuple[int, ...]
    widths: tuple[int | None, ...]
    prefilter: int | None
    threads: tuple[int | None, ...]
    rounds: int
    k: int
    device: str
    backend: str
    resident: bool | None
    bank: Path | None
    trace: bool
    checkpoints: tuple[Path, ...]

    def loading(self, threads: int | None) -> dict[str, Any]:
        """Arguments of `Retriever.load` besides the bundle and the gallery."""
        return {
            "device": self.device,
            "threads": threads,
            "resident": self.resident,
            "backend": self.backend,
            "bank": None if self.bank is None else str(self.bank),
        }

    def searching(self, width: int | None) -> dict[str, Any]:
        """Arguments of `Retriever.search` besides the query."""
        given = {} if self.prefilter is None else {"prefilter": self.prefilter}
        return {"k": self.k, "candidates": width, "rerank": self.bank is not None, **given}
