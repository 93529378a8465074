"""Ensembles with a gate behind them: one appears only if it scores as its members do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from itr_deploy.bundle.files import write_json
from itr_deploy.bundle.staging import staged_directory
from itr_deploy.bundle.store import PARITY, is_bundle
from itr_deploy.errors import ParityError
from itr_deploy.export.ensemble import build_ensemble
from itr_deploy.parity.export import Exported, missed
from itr_deploy.parity.report import ParityReport, RankComparison, compare, compare_ranks
from itr_deploy.runtime.matcher import Matcher

TOLERANCE = 1e-5
"""Largest error: the members' graphs are unchanged, only their mean is new."""

SHAPES = ((5, 7, 3), (2, 36, 9))
"""Images, regions and texts of the samples."""


def ensemble_verified(
    members: Sequence[Path],
    weights: Sequence[float],
    *,
    output: Path,
    force: bool = False,
    progress: Callable[[str], None] = lambda step: None,
) -> Exported:
    """Join bundles and compare the result with the weighted mean of their scores.

    Args:
        members: The bundles' directories.
        weights: One a member, positive.
        output: Directory of the ensemble; must not exist unless ``force`` is given.
        force: Replace an existing bundle.
        progress: Called with the name of each step as it begins.

    Raises:
        BundleError: A member is damaged, or the members take different inputs.
        OutputError: The output exists, or the disk refuses.
        ParityError: The ensemble differs from its members; nothing is left.
        UsageError: Fewer than two members, or weights that do not fit.
    """
    matchers = [Matcher.load(member) for member in members]
    bundles = [matcher.bundle for matcher in matchers]
    with staged_directory(output, force=force, replaceable=is_bundle, kind="bundle") as root:
        manifest = build_ensemble(bundles, weights, root, progress)
        progress("comparison with the members")
        report = _compare(Matcher.load(root), matchers, weights)
        if not report.passed:
            raise ParityError(missed(report, "no bundle was written"))
        write_json(root / PARITY, report.to_json())
    return Exported(output, manifest.encoding_id, report)


def _compare(
    ensemble: Matcher, members: Sequence[Matcher], weights: Sequence[float]
) -> ParityReport:
    rng = np.random.default_rng(0)
    pairs: list[tuple[str, NDArray[np.floating], NDArray[np.floating]]] = []
    ranks: list[RankComparison] = []
    for images, regions, texts in SHAPES:
        given = _inputs(ensemble, rng, images, regions, texts)
        name = f"{images} images x {regions} regions, {texts} texts"
        got = ensemble.score(texts=given[1:], images=given[0])
        scores = [member.score(texts=given[1:], images=given[0]) for member in members]
        mean = np.average(scores, axis=0, weights=weights)
        pairs.append((name, got, mean))
        ranks.append(compare_ranks(f"ranking {len(ranks)}", got.T, mean.T, 2 * TOLERANCE))
    outputs = (compare("weighted mean of the members", pairs, TOLERANCE),)
    return ParityReport(ensemble.backend.description, outputs, (), tuple(ranks))


def _inputs(
    matcher: Matcher, rng: np.random.Generator, images: int, regions: int, texts: int
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]:
    manifest = matcher.bundle.manifest
    regions = manifest.images.regions or regions
    longest = min(manifest.texts.max_tokens, 12)
    lengths = rng.integers(min(3, longest), longest, size=texts, endpoint=True)
    ids = rng.integers(1, manifest.texts.vocab_size, size=(texts, int(lengths.max())))
    ids[np.arange(ids.shape[1]) >= lengths[:, None]] = 0
    shape = (images, regions, manifest.images.feature_dim)
    return rng.standard_normal(shape, dtype=np.float32), ids, lengths
