"""The gate for ensembles: one appears only if it scores as its members do."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from itr_deploy.bundle.modality import MATCHERS, PREFILTERS
from itr_deploy.parity.report import ParityReport, RankComparison, compare, compare_ranks
from itr_deploy.runtime.encoding.places import random_places
from itr_deploy.runtime.encoding.regions import Regions
from itr_deploy.runtime.matcher import Matcher
from itr_deploy.runtime.products import product

TOLERANCE = 1e-5
"""Largest error: the members' graphs are unchanged, only their mean is new."""

Pairs = list[tuple[str, NDArray[np.floating], NDArray[np.floating]]]

SHAPES = ((5, 7, 3), (2, 36, 9))
"""Images, regions and texts of the samples."""


def compare_ensemble(
    ensemble: Matcher, members: Sequence[Matcher], weights: Sequence[float]
) -> ParityReport:
    """Compare every matcher graph and the coarse product with the members' weighted mean."""
    rng = np.random.default_rng(0)
    pairs: dict[str, Pairs] = {}
    ranks: list[RankComparison] = []
    for shape in SHAPES:
        given = _inputs(ensemble, rng, *shape)
        name = "{} images x {} regions, {} texts".format(*shape)
        got, parts = _figures(ensemble, *given), [_figures(member, *given) for member in members]
        for what, values in got.items():
            mean = np.average([part[what] for part in parts], axis=0, weights=weights)
            pairs.setdefault(what, []).append((name, values, mean))
            ranks.append(compare_ranks(f"{what}, {shape[2]} texts", values, mean, 2 * TOLERANCE))
    outputs = tuple(compare(what, found, TOLERANCE) for what, found in pairs.items())
    return ParityReport(ensemble.backend.description, outputs, (), tuple(ranks))


def _figures(
    matcher: Matcher,
    regions: Regions,
    ids: NDArray[np.int64],
    lengths: NDArray[np.int64],
) -> dict[str, NDArray[np.float32]]:
    """Scores ``[queries, items]`` of every graph that scores, and the coarse product."""
    images, texts = matcher.encode_images(regions), matcher.encode_token_ids(ids, lengths)
    figures = {"coarse product": product(texts.embedding, images.embedding)}
    for storage in matcher.bundle.manifest.storages:
        for query, gallery in ((texts, images), (images, texts)):
            stored = gallery.stored_as(storage)
            scores = matcher.scorer.score_all(query, stored)
            figures[f"{MATCHERS[query.modality]}, {storage}"] = scores
            if matcher.prefilter is not None:
                scores = matcher.prefilter.score_all(query, stored)
                figures[f"{PREFILTERS[query.modality]}, {storage}"] = scores
    return figures


def _inputs(
    matcher: Matcher, rng: np.random.Generator, images: int, regions: int, texts: int
) -> tuple[Regions, NDArray[np.int64], NDArray[np.int64]]:
    manifest = matcher.bundle.manifest
    regions = manifest.images.regions or regions
    longest = min(manifest.texts.max_tokens, 12)
    lengths = rng.integers(min(3, longest), longest, size=texts, endpoint=True)
    ids = rng.integers(1, manifest.texts.vocab_size, size=(texts, int(lengths.max())))
    ids[np.arange(ids.shape[1]) >= lengths[:, None]] = 0
    shape = (images, regions, manifest.images.feature_dim)
    values = rng.standard_normal(shape, dtype=np.float32)
    if not manifest.images.boxes:
        return Regions(values), ids, lengths
    return Regions(values, *random_places(rng, images, regions)), ids, lengths
