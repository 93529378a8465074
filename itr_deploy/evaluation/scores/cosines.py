"""Similarity within one modality of a split: cosines of embeddings that stay on disk."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from itr_deploy.evaluation.data.memory import release_pages
from itr_deploy.evaluation.scores.coarse import CHUNK, query_blocks
from itr_deploy.runtime.rerank.matrices import top
from itr_deploy.runtime.rerank.pooled import unit

Rows = NDArray[np.int64]


class Cosines:
    """An `IntraSimilarity` of the rows of ``float32 [N, E]``, in memory or mapped."""

    def __init__(self, vectors: NDArray[np.float32]) -> None:
        self._vectors = vectors

    def lists(self, rows: Rows, count: int) -> Rows:
        """The nearest items of each, itself first: ``[n] -> [n, count]``."""
        total = len(self._vectors)
        found = np.empty((len(rows), min(count, total)), np.int64)
        for part in query_blocks(len(rows), total):
            own = self._units(rows[part])
            cosines = np.empty((len(own), total), np.float32)
            for start in range(0, total, CHUNK):
                chunk = slice(start, start + CHUNK)
                cosines[:, chunk] = own @ unit(np.asarray(self._vectors[chunk])).T
                release_pages(self._vectors)
            cosines[np.arange(len(own)), rows[part]] = np.inf  # the item itself comes first
            found[part] = top(cosines, count)
        return found

    def between(self, rows: Rows, others: Rows) -> NDArray[np.float32]:
        """Similarities of every two items: ``[Q, a], [Q, b] -> [Q, a, b]``."""
        return self._units(rows) @ self._units(others).transpose(0, 2, 1)

    def _units(self, rows: Rows) -> NDArray[np.float32]:
        taken = np.asarray(self._vectors[rows], np.float32)
        release_pages(self._vectors)
        return unit(taken.reshape(-1, taken.shape[-1])).reshape(taken.shape)
