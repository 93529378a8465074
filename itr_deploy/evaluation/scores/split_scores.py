"""A split's scores, coarse embeddings and right answers in one value, for the measures."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from itr_deploy.bundle.modality import Modality
from itr_deploy.evaluation.data.answers import Answers
from itr_deploy.evaluation.scores.coarse import Coarse


class Scores(Protocol):
    """A matrix ``float32 [N, C]`` that is read block by block: an array, or a file on disk."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of images and of captions."""
        ...

    def __getitem__(self, part: tuple[slice, slice], /) -> NDArray[np.float32]:
        """Some rows and columns."""
        ...


@dataclass(frozen=True, eq=False)
class SplitScores:
    """A split's scores, its coarse embeddings and its right answers.

    Attributes:
        scores: The matcher's scores ``float32 [N, C]``, at least for the pairs of a shortlist.
        coarse: The coarse embeddings.
        answers: Which captions belong to which image.
    """

    scores: Scores
    coarse: Coarse
    answers: Answers

    def of(self, query: Modality, part: slice) -> NDArray[np.float32]:
        """Scores ``float32 [queries, items]`` of some queries."""
        return query_scores(self.scores, query, part)

    def right(self, query: Modality, part: slice, items: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of ``items [queries, n]`` are right answers to their query."""
        return self.answers.right(query, part, items)

    def by(self, coarse: Coarse) -> SplitScores:
        """The same scores and answers with other coarse embeddings."""
        return replace(self, coarse=coarse)


def query_scores(scores: Scores, query: Modality, part: slice) -> NDArray[np.float32]:
    """Scores ``float32 [queries, items]`` of some queries."""
    return scores[part, :] if query == "image" else scores[:, part].T
