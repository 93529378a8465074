"""Searching a gallery of many items from memory and from disk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from itr_deploy import Gallery, Hits, Matcher, Retriever
from tests.support.items import captions, images

COUNT = 150
SPLITS = ["train", "dev", "test"]
QUERIES = captions(4, seed=7)
IMAGES = images(4, seed=7)
SHORTLISTS = [None, 1, 12, 40, COUNT, 1000]
CONDITIONS = [
    None,
    "split = 'test'",
    "year >= 75 AND split <> 'dev'",
    "id = 'item0003'",
    "year < 0",
]
KINDS = ["image-float16", "image-float32", "text-float16", "image-int8", "text-int8"]
FILTERS = pytest.mark.parametrize("where", CONDITIONS)


def columns(count: int = COUNT) -> dict[str, list]:
    return {"split": [SPLITS[n % 3] for n in range(count)], "year": list(range(count))}


def resident(matcher: Matcher, gallery: Gallery) -> Retriever:
    return Retriever(matcher, gallery, resident=True)


def on_disk(matcher: Matcher, gallery: Gallery, budget: int = 100_000) -> Retriever:
    return Retriever(matcher, gallery, memory_budget=budget, resident=False)


BOTH = pytest.mark.parametrize("form", [resident, on_disk])


def search(retriever: Retriever, **options: Any) -> list[Hits]:
    """Search with four queries of the modality that the gallery takes."""
    if retriever.gallery.modality == "image":
        return retriever.search(QUERIES, **options)
    return retriever.search(image=IMAGES, **options)


def assert_same(found: list[Hits], expected: list[Hits], tolerance: float = 1e-6) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one.scores, other.scores, atol=tolerance)
        assert one.ids == other.ids
        assert one.metadata == other.metadata


def shown(hits: Hits) -> list[tuple]:
    return [(hit.id, hit.rank, hit.metadata) for hit in hits]


def shared_hits(found: Sequence[Hits], exact: Sequence[Hits]) -> float:
    """Share of the exact hits that were found; their scores are asserted to be the same."""
    shares = []
    for one, other in zip(found, exact, strict=True):
        scores = dict(zip(other.ids, other.scores.tolist(), strict=True))
        both = [(scores[hit.id], hit.score) for hit in one if hit.id in scores]
        np.testing.assert_allclose(*zip(*both, strict=True), atol=1e-6)
        shares.append(len(both) / len(scores))
    return float(np.mean(shares))
