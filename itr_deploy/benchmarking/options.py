"""What `bench` measures, and how often."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from itr_deploy.bundle.modality import Modality


@dataclass(frozen=True)
class Options:
    """The settings of a benchmark: every batch with every width and every entry of `threads`.

    Attributes:
        query: Modality of the queries.
        batches: Queries per search.
        widths: Candidates that the coarse embedding leaves for the matcher; None scores all items.
            Empty uses the width of the bundle's pipeline.
        prefilter: Items that it leaves for the prefilter, None for the bundle's default.
        refine: Items that the prefilter leaves for the refiner, None for the bundle's default, and
            for no refiner where ``widths`` are given.
        threads: Threads that compute on the CPU; None for every core.
        rounds: Searches with every setting.
        k: Hits per query.
        device: The device, as for `open_backend`.
        backend: The backend, as for `open_backend`.
        resident: Whether the gallery is in memory; None decides by its size, as a search does.
        bank: A gallery to re-rank with, None to search without re-ranking.
        trace: Whether ONNX Runtime profiles its graphs.
        checkpoints: Checkpoints of the plain model to compare with, one per member of an ensemble;
            empty for no comparison.
    """

    query: Modality
    batches: tuple[int, ...]
    widths: tuple[int | None, ...]
    prefilter: int | None
    refine: int | None
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
            "query_budget": 0,  # against the plain model, one query is asked again and again
            "backend": self.backend,
            "bank": None if self.bank is None else str(self.bank),
        }

    def searching(self, width: int | None) -> dict[str, Any]:
        """Arguments of `Retriever.search` besides the query."""
        given = {} if self.prefilter is None else {"prefilter": self.prefilter}
        if self.refine is not None:
            given["refine"] = self.refine
        return {"k": self.k, "candidates": width, "rerank": self.bank is not None, **given}
