"""Coarse scores of a split by forms that were not fitted to the query."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from itr_deploy.bundle.modality import Modality
from itr_deploy.evaluation.data.answers import Answers
from itr_deploy.evaluation.scores.coarse import Coarse
from itr_deploy.runtime.projection import Projection


class HeldOutCoarse(Coarse):
    """The queries of each half are projected by the forms that were fitted to the other half.

    What these keep is what to expect for new queries; forms fitted to the queries themselves keep
    more.
    """

    def __init__(self, root: Path, halves: tuple[Projection, Projection], answers: Answers) -> None:
        """Open the vectors in ``root``; ``halves`` are the forms of `Fitted.halves`."""
        super().__init__(root)
        self._halves, self._answers = halves, answers

    def query_vectors(self, query: Modality, part: slice) -> NDArray[np.float32]:
        """The projected vectors of some queries, ``float32 [queries, E]``."""
        vectors = np.array(self.vectors(query)[part])
        odd = self._answers.odd(query, part)[:, None]
        of_even, of_odd = (half.query(query, vectors) for half in self._halves)
        return np.where(odd, of_even, of_odd)
