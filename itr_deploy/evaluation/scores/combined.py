"""Matrices of scores that are computed from others, part by part, as they are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from itr_deploy.evaluation.scores.split_scores import Scores


@dataclass(frozen=True, eq=False)
class Sum:
    """The sum of matrices of scores."""

    terms: Sequence[Scores]

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of images and of captions."""
        return self.terms[0].shape

    def __getitem__(self, part: tuple[slice, slice]) -> NDArray[np.float32]:
        total = np.array(self.terms[0][part])
        for term in self.terms[1:]:
            total += term[part]
        return total


class Mean(Sum):
    """The mean of matrices of scores, which is how the field makes ensembles."""

    def __getitem__(self, part: tuple[slice, slice]) -> NDArray[np.float32]:
        mean: NDArray[np.float32] = super().__getitem__(part) / np.float32(len(self.terms))
        return mean
