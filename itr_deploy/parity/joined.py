"""Compares a bundle that was joined out of others with what they give for the same inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from itr_deploy.bundle.modality import MATCHERS, PREFILTERS, REFINERS
from itr_deploy.parity.report import ParityReport, RankComparison, compare, compare_ranks
from itr_deploy.parity.storages import in_every_type
from itr_deploy.runtime.encoding.images import Unencoded
from itr_deploy.runtime.encoding.pictures import random_pictures
from itr_deploy.runtime.encoding.places import random_places
from itr_deploy.runtime.encoding.regions import Regions
from itr_deploy.runtime.matcher import Matcher
from itr_deploy.runtime.products import product

TOLERANCE = 1e-5
"""Largest error: the graphs that were joined are unchanged."""

SHAPES = ((5, 7, 3), (2, 36, 9))
"""Images, regions and texts of the samples."""

COARSE = "coarse product"

Inputs = tuple[Unencoded, NDArray[np.int64], NDArray[np.int64]]
"""Images, and the token ids and lengths of texts."""
Figures = Mapping[str, NDArray[np.floating]]
Pairs = list[tuple[str, NDArray[np.floating], NDArray[np.floating]]]


def compare_joined(joined: Matcher, expected: Callable[[Inputs], Figures]) -> ParityReport:
    """Compare every graph that scores, and the coarse product, with what is expected of them."""
    rng = np.random.default_rng(0)
    pairs: dict[str, Pairs] = {}
    ranks: list[RankComparison] = []
    for shape in SHAPES:
        given = _inputs(joined, rng, *shape)
        name = "{} images x {} regions, {} texts".format(*shape)
        if joined.bundle.manifest.images.pictures:
            name = "{} pictures, {} texts".format(*shape[::2])
        references = expected(given)
        for what, values in figures(joined, given).items():
            reference = references[what]
            pairs.setdefault(what, []).append((name, values, reference))
            title = f"{what}, {shape[2]} texts"
            ranks.append(compare_ranks(title, values, reference, 2 * TOLERANCE))
    outputs = tuple(compare(what, found, TOLERANCE) for what, found in pairs.items())
    return ParityReport(joined.backend.description, outputs, (), tuple(ranks))


def figures(matcher: Matcher, given: Inputs) -> dict[str, NDArray[np.float32]]:
    """Scores ``[queries, items]`` of every graph that scores, and the coarse product."""
    unencoded, ids, lengths = given
    images, texts = matcher.encode_images(unencoded), matcher.encode_token_ids(ids, lengths)
    found = {COARSE: product(texts.embedding, images.embedding)}
    parts = (MATCHERS, matcher.scorer), (PREFILTERS, matcher.prefilter), (REFINERS, matcher.refiner)
    for roles, scorer in parts:
        if scorer is None:
            continue
        for query, gallery in ((texts, images), (images, texts)):
            for storage, stored in in_every_type(scorer, gallery, matcher.bundle.manifest):
                scores = scorer.score_all(query, stored)
                found[f"{roles[query.modality]}, {storage}"] = scores
    return found


def _inputs(
    matcher: Matcher, rng: np.random.Generator, images: int, regions: int, texts: int
) -> Inputs:
    manifest = matcher.bundle.manifest
    regions = manifest.images.regions or min(regions, manifest.images.max_regions or regions)
    longest = min(manifest.texts.max_tokens, 12)
    lengths = rng.integers(min(3, longest), longest, size=texts, endpoint=True)
    ids = rng.integers(1, manifest.texts.vocab_size, size=(texts, int(lengths.max())))
    ids[np.arange(ids.shape[1]) >= lengths[:, None]] = 0
    if manifest.images.pictures:
        return random_pictures(rng, images), ids, lengths
    shape = (images, regions, manifest.images.feature_dim)
    values = rng.standard_normal(shape, dtype=np.float32)
    if not manifest.images.boxes:
        return Regions(values), ids, lengths
    return Regions(values, *random_places(rng, images, regions)), ids, lengths
