"""Compares a re-ranker's graphs with PyTorch, when it is added to a bundle or later."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from itr_deploy.bundle.modality import RERANK_GRAPHS, Modality
from itr_deploy.bundle.store import Bundle
from itr_deploy.exporters.reranker import network_of
from itr_deploy.models.contract import TrainedReranker
from itr_deploy.parity.parity_backend import parity_backend
from itr_deploy.parity.report import ParityReport, compare, compare_ranks
from itr_deploy.parity.tolerances import Tolerances
from itr_deploy.runtime.backends import Backend

BATCHES = (1, 3, 17)
"""Numbers of queries in the samples; all differ from the export's."""

Progress = Callable[[str], None]


def compare_reranker(
    trained: TrainedReranker, bundle: Bundle, tolerance: float | None = None
) -> ParityReport:
    """Compare the graphs of a bundle's re-ranker with PyTorch.

    Args:
        trained: The loaded checkpoint.
        bundle: The bundle, which has a re-ranker.
        tolerance: Largest error of a score; by default that for the bundle's precision.
    """
    allowed = Tolerances.of(bundle.manifest.precision, tolerance)
    with parity_backend(bundle) as backend:
        return _compared(trained, bundle, backend, allowed)


def _compared(
    trained: TrainedReranker, bundle: Bundle, backend: Backend, allowed: Tolerances
) -> ParityReport:
    tolerance = allowed.scores["float32"]
    record = bundle.manifest.reranker
    assert record is not None
    rng = np.random.default_rng(0)
    outputs, invariance, ranks = [], [], []
    for query, role in RERANK_GRAPHS.items():
        rows, pairs = record.direction(query).rows, []
        for batch in BATCHES:
            given = _sample(rng, batch, rows, record.pillars)
            got = backend.run(role, given)["scores"]
            pairs.append((f"{batch} queries", got, _reference(trained, query, given)))
        outputs.append(compare(role, pairs, tolerance))
        name, whole, reference = pairs[-1]
        alone = [
            backend.run(role, {key: value[place : place + 1] for key, value in given.items()})
            for place in range(BATCHES[-1])
        ]
        joined = np.concatenate([one["scores"] for one in alone])
        invariance.append(compare(f"{role}, every query alone", [(name, joined, whole)], tolerance))
        ranks.append(
            compare_ranks(role, whole, reference, 2 * tolerance, allowed.best_kept.get("float32"))
        )
    return ParityReport(backend.description, tuple(outputs), tuple(invariance), tuple(ranks))


def _sample(
    rng: np.random.Generator, batch: int, rows: int, pillars: int
) -> dict[str, NDArray[np.float32]]:
    """Affinities in the range of similarities, and edges whose rows sum to 1, as at run time."""
    affinities = rng.uniform(-1, 1, (batch, rows, 2 * pillars)).astype(np.float32)
    counts = rng.integers(0, 21, (batch, rows, rows)).astype(np.float64)
    counts[:, np.arange(rows), np.arange(rows)] = 20
    edges = (counts / counts.sum(axis=2, keepdims=True)).astype(np.float32)
    return {"affinities": affinities, "edges": edges}


def _reference(
    trained: TrainedReranker, query: Modality, given: dict[str, NDArray[np.float32]]
) -> NDArray[np.float32]:
    affinities, edges = (torch.from_numpy(given[name]) for name in ("affinities", "edges"))
    with torch.inference_mode():
        scores: NDArray[np.float32] = network_of(trained, query)(affinities, edges).numpy()
    return scores
