"""How much memory a gallery takes, and in which form it fits a budget."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from itr_deploy.runtime.gallery import Gallery
from itr_deploy.runtime.gallery.codes import wanted_bytes
from itr_deploy.runtime.gallery.read import stored_bytes


@dataclass(frozen=True)
class Size:
    """The size of one version of a gallery, beside a budget.

    Attributes:
        items: Number of items.
        bytes: Bytes of their embeddings, the codes of these, and tensors.
        vectors: Bytes of their embeddings and codes alone.
        budget: Bytes that may be in memory.
    """

    items: int
    bytes: int
    vectors: int
    budget: int

    @classmethod
    def of(cls, gallery: Gallery, budget: int) -> Size:
        """Measure a gallery; no tensor is read."""
        items = gallery.count()
        width = gallery.description.embedding_dim
        # A dual encoder's gallery has no tensors; its scores are the products, and stay exact.
        codes = wanted_bytes(items, width) if gallery.description.tensors else 0
        vectors = items * width * np.dtype(np.float32).itemsize
        return cls(items, stored_bytes(gallery, items) + codes, vectors + codes, budget)

    @property
    def rows_per_read(self) -> int:
        """Rows that a search on disk may read at once, for half of the budget."""
        return max(1, self.budget // 2 * max(1, self.items) // max(1, self.bytes))

    def fits(self, beside: int = 0) -> bool:
        """Whether all of it fits, with other bytes that are in memory."""
        return self.bytes + beside <= self.budget

    def vectors_fit(self, beside: int = 0) -> bool:
        """Whether the embeddings fit half of the budget, and all of it with other bytes."""
        return self.vectors <= self.budget // 2 and self.vectors + beside <= self.budget
