"""A re-ranker's graphs against PyTorch: when it is added to a bundle, and again later."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from itr_deploy.bundle.files import sha256_of, write_json
from itr_deploy.bundle.manifest import Modality
from itr_deploy.bundle.staging import check_output, staged_directory
from itr_deploy.bundle.store import PARITY, RERANKER_PARITY, Bundle, is_only_a_bundle, read_bundle
from itr_deploy.errors import BundleError, CheckpointError, OutputError, ParityError
from itr_deploy.exporters.reranker import (
    RERANK_ROLES,
    RerankSettings,
    RerankSource,
    build_reranked,
    network_of,
)
from itr_deploy.models.contract import TrainedReranker
from itr_deploy.models.registry import RerankerFamily, reranker_family
from itr_deploy.parity.export import Exported, missed
from itr_deploy.parity.judging import judged_backend
from itr_deploy.parity.report import ParityReport, compare, compare_ranks
from itr_deploy.parity.tolerances import Tolerances
from itr_deploy.runtime.backends import Backend

BATCHES = (1, 3, 17)
"""Queries of the samples; none is the export's."""

Progress = Callable[[str], None]


def add_reranker_verified(
    family: RerankerFamily,
    *,
    checkpoint: Path,
    base: Path,
    output: Path,
    heads: int,
    settings: RerankSettings,
    force: bool = False,
    progress: Progress = lambda step: None,
) -> Exported:
    """Read a re-ranker's checkpoint, add it to a bundle and compare its graphs with PyTorch.

    Args:
        family: The checkpoint's, from `itr_deploy.models.registry`.
        checkpoint: The published checkpoint.
        base: The bundle of the matcher that it was trained for.
        output: Directory of the new bundle; must not exist unless ``force`` is given.
        heads: Heads of its attention.
        settings: What else the checkpoint does not say.
        force: Replace an existing bundle.
        progress: Called with the name of each step as it begins.

    Raises:
        CheckpointError: The checkpoint cannot be used.
        BundleError: The base is damaged, or has a re-ranker.
        OutputError: The output exists, or the disk refuses.
        ParityError: The graphs differ from PyTorch; nothing is left.
        UsageError: The settings make no sense.
    """
    kind = {"replaceable": is_only_a_bundle, "kind": "bundle"}
    check_output(output, force=force, **kind)  # type: ignore[arg-type]
    opened = read_bundle(base)
    progress(f"reading {checkpoint.name}")
    source = RerankSource(family, checkpoint, family.load(checkpoint, heads), settings)
    with staged_directory(output, force=force, **kind) as root:  # type: ignore[arg-type]
        manifest = build_reranked(opened, source, root, progress)
        if (base / PARITY).is_file():
            shutil.copyfile(base / PARITY, root / PARITY)
        progress("comparison with PyTorch")
        report = _compare(source.trained, read_bundle(root))
        if not report.passed:
            raise ParityError(missed(report, "no bundle was written"))
        write_json(root / RERANKER_PARITY, report.to_json())
    return Exported(output, manifest.encoding_id, report)


def is_rerankers(bundle: Path, checkpoint: Path) -> bool:
    """Whether a checkpoint is that of the bundle's re-ranker."""
    reranker = read_bundle(bundle).manifest.reranker
    return (
        reranker is not None
        and checkpoint.is_file()
        and sha256_of(checkpoint) == reranker.provenance.checkpoint_sha256
    )


def verify_reranker(
    bundle: Path,
    checkpoint: Path,
    *,
    tolerance: float | None = None,
    progress: Progress = lambda step: None,
) -> ParityReport:
    """Compare a bundle's re-ranker with its checkpoint again, and write the report.

    Raises:
        BundleError: The bundle is damaged, or has no re-ranker known here.
        CheckpointError: The checkpoint cannot be read.
    """
    opened = read_bundle(bundle)
    progress(f"reading {checkpoint.name}")
    trained = read_reranker(opened, checkpoint)
    progress("comparison with PyTorch")
    report = _compare(trained, opened, tolerance)
    try:
        write_json(bundle / RERANKER_PARITY, report.to_json())
    except OutputError as error:
        progress(f"report not kept: {error}")
    return report


def read_reranker(bundle: Bundle, checkpoint: Path) -> TrainedReranker:
    """Read the checkpoint of a bundle's re-ranker.

    Raises:
        BundleError: The bundle has no re-ranker known here.
        CheckpointError: The checkpoint cannot be read, or is of other sizes.
    """
    record = bundle.manifest.reranker
    if record is None:
        raise BundleError(f"{bundle.path} has no re-ranker; add one with itr-deploy export leaprr")
    try:
        family = reranker_family(record.family)
    except KeyError as error:
        raise BundleError(
            f"{bundle.path}: re-ranker {error} is not of this itr-deploy; export it again"
        ) from error
    trained = family.load(checkpoint, record.heads)
    if trained.pillars != record.pillars:
        raise CheckpointError(
            f"{checkpoint}: takes {trained.pillars} pillars, {bundle.path} {record.pillars}"
        )
    return trained


def _compare(
    trained: TrainedReranker, bundle: Bundle, tolerance: float | None = None
) -> ParityReport:
    allowed = Tolerances.of(bundle.manifest.precision, tolerance)
    with judged_backend(bundle) as backend:
        return _compared(trained, bundle, backend, allowed)


def _compared(
    trained: TrainedReranker, bundle: Bundle, backend: Backend, allowed: Tolerances
) -> ParityReport:
    tolerance = allowed.scores["float32"]
    record = bundle.manifest.reranker
    assert record is not None
    rng = np.random.default_rng(0)
    outputs, invariance, ranks = [], [], []
    for role, query in RERANK_ROLES.items():
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
    """Affinities like similarities, and edges whose rows add up to 1, as the runtime makes them."""
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
