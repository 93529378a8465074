"""A bilinear form between a query's and an item's vectors, fitted by ridge regression.

With vectors ``Q [q, E]`` and ``I [i, E]`` and targets ``Z [q, i]`` made of a matcher's scores, the
form ``F`` minimises ``||Q F I^t - Z||^2 + r ||F - c 1||^2``, products and targets both less their
query's mean: what all items have in common does not order them. ``c 1`` is the multiple of the
identity that fits best, so that a large ``r`` leaves the order of the dot product, and a direction
that few vectors know stays near it. In the eigenvectors of ``Q^t Q`` and ``I^t I`` the solution is
an element-wise quotient: all values of ``r`` take one decomposition, and memory is that of a few
``[E, E]`` and the items' vectors.
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
"""Shares of a query's items, the worst of them, that a target may hold for equally bad."""


class RidgeFit:
    """All forms for queries of one modality, fitted to the scores of some pairs."""

    def __init__(self, data: SplitScores, query: Modality, own: Mask, items: Mask) -> None:
        """Read the pairs.

        Args:
            data: The split; every pair has a score.
            query: Modality of the queries.
            own: Which queries are fitted.
            items: Which items.
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
        # From here on all is in the eigenvectors: the identity, and the sums over pairs.
        self._values = np.outer(own_values, item_values).clip(min=0)
        self._identity = self._own.T @ self._items
        self._plain = self._square(self._identity)
        self._slopes, self._rest = {}, {}
        for floor, sums in cross.items():
            slope = self._slopes[floor] = np.trace(sums) / (self._plain or 1)
            explained = slope * self._values * self._identity
            self._rest[floor] = self._own.T @ sums @ self._items - explained

    def form(self, floor: float, ridge: float) -> Form:
        """The form ``float32 [E, E]``, its products spread as the dot products are.

        Args:
            floor: One of `FLOORS`.
            ridge: ``r`` as a share of the largest product of an eigenvalue of either side.
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
        """Sum of the squares of ``query @ form @ item`` over all pairs, less the queries' means."""
        return float((self._values * form**2).sum())


def _targets(scores: NDArray[np.float32], floor: float) -> Floats:
    """Scores ``[q, i]`` raised to the ``floor`` of their query's, with mean 0 and spread 1.

    A shortlist must hold the best; how bad the others are is no matter.
    """
    raised = np.maximum(scores, np.quantile(scores, floor, axis=1, keepdims=True))
    centred = raised.astype(np.float64) - raised.mean(axis=1, keepdims=True, dtype=np.float64)
    spread = centred.std(axis=1, keepdims=True)
    targets: Floats = centred / np.where(spread > 0, spread, 1)
    return targets
