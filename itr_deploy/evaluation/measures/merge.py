"""Merges a re-ranker's two directions into one matrix, as LeaPRR's published evaluation does.

``S1`` is the matcher's matrix with the new scores of every image's candidates written into it,
``S2`` the same with those of every caption's; both directions are ranked from ``(S1 + S2) / 2``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from itr_deploy.evaluation.scores.split_scores import Scores


@dataclass(frozen=True, eq=False)
class Rescored:
    """New scores of every query's candidates.

    Attributes:
        items: ``int64 [Q, K]``, the candidates' numbers, no item twice in a query.
        scores: ``float32 [Q, K]``, the new scores.
        before: ``float32 [Q, K]``, the matcher's scores, best first; None if not needed.
    """

    items: NDArray[np.int64]
    scores: NDArray[np.float32]
    before: NDArray[np.float32] | None = None

    def in_order(self) -> Rescored:
        """The matcher's own scores, reassigned in the order of the new ones."""
        assert self.before is not None
        order = np.argsort(-self.scores, axis=1, kind="stable")
        handed = np.empty_like(self.scores)
        np.put_along_axis(handed, order, self.before, axis=1)
        return Rescored(self.items, handed, self.before)

    @property
    def fallen_behind(self) -> float:
        """Share of queries whose new scores are all below the matcher's for the last candidate."""
        assert self.before is not None
        return float((self.scores.max(axis=1) < self.before[:, -1]).mean())

    def written_into(
        self, block: NDArray[np.float32], queries: slice, items: slice
    ) -> NDArray[np.float32]:
        """A block ``[queries, items]`` of the matcher's scores with the new ones written in."""
        written = np.array(block)
        own = self.items[queries]
        rows, places = np.nonzero((own >= items.start) & (own < items.stop))
        written[rows, own[rows, places] - items.start] = self.scores[queries][rows, places]
        return written


@dataclass(frozen=True, eq=False)
class TwoWayMerge:
    """The merged matrix ``float32 [N, C]``, computed block by block as it is read.

    Attributes:
        scores: The matcher's scores, ``float32 [N, C]``.
        by_image: New scores of captions for the N image queries.
        by_caption: New scores of images for the C caption queries.
    """

    scores: Scores
    by_image: Rescored
    by_caption: Rescored

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of images and of captions."""
        return self.scores.shape

    def __getitem__(self, part: tuple[slice, slice]) -> NDArray[np.float32]:
        images, captions = (
            slice(*axis.indices(size)[:2]) for axis, size in zip(part, self.shape, strict=True)
        )
        block = self.scores[images, captions]
        first = self.by_image.written_into(block, images, captions)
        second = self.by_caption.written_into(block.T, captions, images).T
        merged: NDArray[np.float32] = (first + second) / np.float32(2)
        return merged
