"""A bilinear form between a query's and an item's vectors, fitted by ridge regression.

With vectors ``Q [q, E]`` and ``I [i, E]`` and targets ``Z [q, i]`` made from a matcher's scores,
the form ``F`` minimises ``||Q F I^t - Z||^2 + r ||F - c 1||^2``. The mean of each query is
subtracted from products and targets, because what all items share does not affect their order.
``c 1`` is the multiple of the identity that fits best: a large ``r`` keeps the order of the dot
product, and the form stays near it along axes in which the vectors vary little. In the eigenvectors
of ``Q^t Q`` and ``I^t I`` the solution is an element-wise quotient, so one decomposition serves all
values of ``r``. Memory holds a few ``[E, E]`` matrices and the items' vectors.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from itr_deploy.bundle.modality import Modality, other
from itr_deploy.evaluation.data.answers import Mask
from itr_deploy.evaluation.scores.coarse import query_blocks
from itr_deploy.evaluation.scores.split_scores import SplitScores

Floats = NDArray[np.float64]
Form = NDArray[np.float32]

FLOORS = (0.5, 0.8, 0.95)
"""Shares of a query's worst items that a target may treat as equally bad."""


class RidgeFit:
    """All forms for queries of one modality, fitted to the scores of some pairs."""

    def __init__(self, data: SplitScores, query: Modality, own: Mask, items: Mask) -> None:
        """Sum up the products of the pairs.

        Args:
            data: The split; every pair has a score.
            query: Modality of the queries.
            own: Which queries to fit to.
            items: Which items to fit to.
        """
        vectors, gallery = data.coarse.vectors(query), data.coarse.vectors(other(query))
        width = gallery.shape[1]
        centred = gallery[items].astype(np.float64)
        centred -= centred.mean(axis=0)
        query_products = np.zeros((width, width))
        cross = {floor: np.zeros((width, width)) for floor in FLOORS}
        for part in query_blocks(len(own), len(items)):
            chosen = np.array(vectors[part])[own[part]].astype(np.float64)
            block = data.of(query, part)[own[part]][:, items]
            query_products += chosen.T @ chosen
            for floor in FLOORS if len(chosen) else ():
                cross[floor] += chosen.T @ (_targets(block, floor) @ centred)
        (own_values, self._own), (item_values, self._items) = (
            np.linalg.eigh(products) for products in (query_products, centred.T @ centred)
        )
        # From here on everything is in the eigenvectors: the identity and the sums over pairs.
        self._values = np.outer(own_values, item_values).clip(min=0)
        self._identity = self._own.T @ self._items
        self._plain = self._square(self._identity)
        self._slopes, self._rest = {}, {}
        for floor, sums in cross.items():
            slope = self._slopes[floor] = np.trace(sums) / (self._plain or 1)
            explained = slope * self._values * self._identity
            self._rest[floor] = self._own.T @ sums @ self._items - explained

    def form(self, floor: float, ridge: float) -> Form:
        """The form ``float32 [E, E]``, scaled so that its products spread like the dot products.

        Args:
            floor: One of `FLOORS`.
            ridge: ``r`` as a share of the largest product of two eigenvalues, one of each side.
        """
        least = ridge * (self._values.max() or 1)
        form = self._slopes[floor] * self._identity + self._rest[floor] / (self._values + least)
        square = self._square(form)
        if square == 0:
            return np.eye(len(form), dtype=np.float32)
        scaled: Floats = np.sqrt(self._plain / square) * form
        given: Form = (self._own @ scaled @ self._items.T).astype(np.float32)
        return given

    def _square(self, form: Floats) -> float:
        """Sum over all pairs of the squares of ``query @ form @ item`` less the query's mean."""
        return float((self._values * form**2).sum())


def _targets(scores: NDArray[np.float32], floor: float) -> Floats:
    """Scores ``[q, i]`` raised to their query's ``floor`` quantile, with mean 0 and spread 1.

    A shortlist must hold the best items; how bad the others are does not matter.
    """
    raised = np.maximum(scores, np.quantile(scores, floor, axis=1, keepdims=True))
    centred = raised.astype(np.float64) - raised.mean(axis=1, keepdims=True, dtype=np.float64)
    spread = centred.std(axis=1, keepdims=True)
    targets: Floats = centred / np.where(spread > 0, spread, 1)
    return targets
