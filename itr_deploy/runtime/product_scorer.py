"""Scoring by a product of the embeddings: a dual encoder's scores, exact and without a graph."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from itr_deploy.bundle.manifest import StorageType
from itr_deploy.bundle.modality import Modality
from itr_deploy.runtime.encoding.checks import check_scores
from itr_deploy.runtime.encoding.encoded import Encoded
from itr_deploy.runtime.products import product
from itr_deploy.runtime.scorer import Observer

GATHERED_BYTES = 64 << 20
"""Most bytes of the embeddings that are gathered at once, for queries with their own items."""

SHARED_BYTES = 32 << 20
"""From this size on, the embeddings are read by all threads: one alone cannot read as fast as the
memory gives. Numbers of items below are done before a thread begins."""

COPIED = 4
"""Up to one in this many of the embeddings is copied to be multiplied alone."""

PART = "product of the embeddings"


class ProductScorer:
    """A `Scorer` whose scores are products of embeddings; the best counts of several views."""

    def __init__(self, threads: int = 1) -> None:
        """Take the number of threads that may read the embeddings for one query."""
        self._threads = threads

    def score_all(
        self,
        queries: Encoded,
        gallery: Encoded,
        rows: NDArray[np.int64] | None = None,
        observe: Observer | None = None,
    ) -> NDArray[np.float32]:
        """Score every query with every item, or with those at ``rows``; see `Scorer`."""
        embedding, whole = gallery.embedding, False
        if rows is not None and len(rows) < len(embedding):
            # To leave out a few of the products costs less than to copy most of the vectors.
            whole = len(rows) > len(embedding) // COPIED
            embedding = embedding if whole else embedding[rows]
        scores = self._product(queries.embedding, embedding)
        if whole:
            scores = scores[:, rows]
        check_scores(scores, PART)
        if observe is not None:
            observe({"scores": scores})
        return scores

    def _product(
        self, queries: NDArray[np.float32], rows: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """`product`, by all threads where a single query reads much; its values are the same."""
        if len(queries) != 1:
            return product(queries, rows)
        if self._threads < 2 or rows.nbytes < SHARED_BYTES:
            return _of_one(queries, rows)
        parts = list(_slices(len(rows), -(-len(rows) // self._threads)))
        with ThreadPoolExecutor(self._threads) as pool:
            found = pool.map(lambda part: _of_one(queries, rows[part]), parts)
            return np.concatenate(list(found), axis=1)

    def score_with(
        self, queries: Encoded, gallery: Encoded, output: str
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """There is nothing besides the score.

        Raises:
            KeyError: Always.
        """
        raise KeyError(output)

    def score_candidates(
        self, queries: Encoded, gallery: Encoded, candidates: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """Score each query with its own items; see `Scorer`."""
        scores = np.empty(candidates.shape, np.float32)
        step = max(
            1, GATHERED_BYTES // max(1, gallery.embedding.itemsize * gallery.embedding.shape[1])
        )
        for place, (own, chosen) in enumerate(zip(queries.embedding, candidates, strict=True)):
            for part in _slices(len(chosen), step):
                scores[place, part] = _of_one(own[None], gallery.embedding[chosen[part]])[0]
        check_scores(scores, PART)
        return scores

    def resident(self, gallery: Encoded) -> Encoded:
        """The gallery as it is."""
        return gallery

    def in_bytes(self, gallery: Modality) -> frozenset[str]:
        """None: there is no graph."""
        return frozenset()

    def reads(self, gallery: Modality, storage: StorageType) -> frozenset[str]:
        """Nothing besides the embedding."""
        return frozenset()


def _of_one(query: NDArray[np.float32], rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """`product` of one query, ``[1, N]``, by a dot product a row.

    NumPy computes these in the thread that asks, faster than a sum of products; a product of
    matrices would start BLAS's own threads, which then spin while the next query is encoded.
    """
    width = query.shape[1]
    if width > rows.shape[1]:  # the query has the views
        return product(query, rows)
    views = rows.shape[1] // width
    products = np.matmul(rows.reshape(-1, 1, width), query[0][:, None])
    best: NDArray[np.float32] = products.reshape(1, len(rows), views).max(axis=2)
    return best


def _slices(count: int, step: int) -> Iterator[slice]:
    for start in range(0, count, step):
        yield slice(start, min(start + step, count))
