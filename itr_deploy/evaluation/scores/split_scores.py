"""What is known of a split once its pairs are scored: one value for all that measures it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from itr_deploy.bundle.modality import Modality
from itr_deploy.evaluation.data.answers import Answers
from itr_deploy.evaluation.scores.coarse import Coarse


class Scores(Protocol):
    """A matrix ``float32 [N, C]`` that is read block by block: an array, or one on disk."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Images and captions."""
        ...

    def __getitem__(self, part: tuple[slice, slice], /) -> NDArray[np.float32]:
        """Some rows and columns."""
        ...


@dataclass(frozen=True, eq=False)
class SplitScores:
    """A split's scores, its coarse embeddings and its right answers.

    Attributes:
        scores: The matcher's ``float32 [N, C]``, of a shortlist's pairs at least.
        coarse: The coarse embeddings.
        answers: Which captions are whose.
    """

    scores: Scores
    coarse: Coarse
    answers: Answers

    def of(self, query: Modality, part: slice) -> NDArray[np.float32]:
        """Scores ``float32 [queries, items]`` of some queries."""
        return query_scores(self.scores, query, part)

    def right(self, query: Modality, part: slice, items: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of ``items [queries, n]`` are right answers of their query."""
        return self.answers.right(query, part, items)

    def by(self, coarse: Coarse) -> SplitScores:
        """The same with other coarse embeddings."""
        return replace(self, coarse=coarse)


def query_scores(scores: Scores, query: Modality, part: slice) -> NDArray[np.float32]:
    """Scores ``float32 [queries, items]`` of some queries."""
    return scores[part, :] if query == "image" else scores[:, part].T
