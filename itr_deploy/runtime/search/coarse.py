"""Coarse shortlists: items whose coarse embeddings have the largest products with a query's."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from itr_deploy.runtime.gallery.codes import Codes
from itr_deploy.runtime.gallery.read import Vectors
from itr_deploy.runtime.product_scorer import COPIED
from itr_deploy.runtime.products import of_one, product
from itr_deploy.runtime.ranking import ROUNDING, best, contenders

ASKED, BESIDE = 4, 200
"""Items whose estimates are largest and whose products are computed: four times the shortlist, and
200."""
SURE = 2.0
"""Deviations of the estimates by which the shortlist's last is above those that were not looked at.
About one in 300 of the exact shortlist is missed then (docs/performance.md)."""
MOST = 16
"""Where one in this many is not enough, all products are computed."""
FEW = 16
"""The products of one item in this many are all computed; and so many products tell a deviation."""


_Products: TypeAlias = tuple[NDArray[np.int64] | None, NDArray[np.float32]]
"""Places of items, None for all, and their products with a query."""


class CoarseVectors:
    """Every item's coarse embedding in memory: shortlists by products, exact without codes.

    With codes, products are computed of the items with the largest estimates, and of more while an
    item that was not looked at could have a larger one: how estimates deviate is seen at those
    products. What is returned has exact products; it may lack a few items.
    """

    def __init__(
        self,
        vectors: Vectors,
        there: NDArray[np.bool_] | None = None,
        codes: Codes | None = None,
    ) -> None:
        """Store the vectors; items that tie are ordered by id.

        Args:
            vectors: Ids and embeddings.
            there: ``bool [N]``, False for items that are in no shortlist, None if all may be.
            codes: Of these vectors, or of the first ones; they may come later.
        """
        self.vectors = vectors
        self._there = there
        self._gone = None if there is None else np.flatnonzero(~there)
        self._codes = codes

    def nearest(
        self, queries: NDArray[np.float32], width: int, allowed: NDArray[np.int64] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The shortlist of every query, best first.

        Args:
            queries: ``[Q, E]``.
            width: Items per shortlist, no more than there are.
            allowed: Places of the items that take part, rising, None for all that are there.

        Returns:
            Places ``int64 [Q, width]`` and their products ``float32 [Q, width]``.
        """
        found = [
            (rows, *best(products, width, self.vectors.ids, rows))
            for rows, products in self._looked_at(queries, width, allowed)
        ]
        places = np.stack([own if rows is None else rows[own] for rows, own, _ in found])
        return places, np.stack([own for _, _, own in found])

    def contenders(
        self, queries: NDArray[np.float32], width: int, allowed: NDArray[np.int64] | None = None
    ) -> list[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """Every query's items that may be in a shortlist of these and other items.

        Args:
            queries: ``[Q, E]``.
            width: Items per shortlist; all if there are fewer here.
            allowed: As for `nearest`.

        Returns:
            For every query places ``int64``, rising, and their products ``float32``.
        """
        gone = 0 if allowed is not None or self._gone is None else len(self._gone)
        taking = len(self.vectors.ids) - gone if allowed is None else len(allowed)
        width = min(width, taking)
        if not width:
            return [(np.empty(0, np.int64), np.empty(0, np.float32))] * len(queries)
        found = []
        for rows, products in self._looked_at(queries, width, allowed):
            own = contenders(products, width)
            places, kept = own if rows is None else rows[own], products[own]
            rising = np.argsort(places)
            found.append((places[rising], kept[rising]))
        return found

    def _looked_at(
        self, queries: NDArray[np.float32], width: int, allowed: NDArray[np.int64] | None
    ) -> list[_Products]:
        """For every query items with their exact products, its shortlist among them."""
        if not self._may_estimate(queries, width, allowed):
            rows, products = self._products(queries, allowed)
            return [(rows, row) for row in products]
        part = self._there
        if allowed is not None:
            part = np.zeros(len(self.vectors.ids), np.bool_)
            part[allowed] = True
        found: list[_Products] = []
        for query in queries:
            own: _Products | None = self._estimated(query, width, part)
            if own is None:
                rows, products = self._products(query[None], allowed)
                own = rows, products[0]
            found.append(own)
        return found

    def _products(
        self, queries: NDArray[np.float32], allowed: NDArray[np.int64] | None
    ) -> tuple[NDArray[np.int64] | None, NDArray[np.float32]]:
        """The products with the items that take part, and their places; None for all."""
        vectors = self.vectors.embedding
        if allowed is not None and len(allowed) <= len(vectors) // COPIED:
            return allowed, product(queries, vectors[allowed])
        # A copy of most of the vectors would take longer than the products of all.
        products = product(queries, vectors)
        if allowed is not None:
            return allowed, products[:, allowed]
        if self._gone is not None:
            products[:, self._gone] = -np.inf
        return None, products

    def _may_estimate(
        self, queries: NDArray[np.float32], width: int, allowed: NDArray[np.int64] | None
    ) -> bool:
        """Whether there are codes, and few enough items to look at."""
        if self._codes is None or not self._codes.covered:
            return False
        if queries.shape[1] != self.vectors.embedding.shape[1]:
            return False
        count = len(self.vectors.ids)
        gone = 0 if self._gone is None else len(self._gone)
        taking = count - gone if allowed is None else len(allowed)
        return taking * FEW > count and (ASKED * width + BESIDE) * MOST <= count

    def _estimated(
        self, query: NDArray[np.float32], width: int, part: NDArray[np.bool_] | None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]] | None:
        """The items in ``part`` with the largest estimates, None if these cannot tell which."""
        assert self._codes is not None
        vectors, count = self.vectors.embedding, len(self.vectors.ids)
        share = 1.0 if part is None else np.count_nonzero(part) / count
        asked = int((ASKED * width + BESIDE) / share)
        while asked * MOST <= count:
            found = self._codes.nearest(query, asked, count)
            if found is None:
                return None
            places, estimates = found.places, found.estimates
            if part is not None:
                kept = part[places]
                places, estimates = places[kept], estimates[kept]
            products = of_one(query, vectors[places])
            above = _above(products - estimates)
            rows, products = self._with_late(query, found.covered, places, products, part)
            if len(rows) >= width:
                last = float(np.partition(products, len(rows) - width)[len(rows) - width])
                # What ties with the last may be there as well.
                if last - found.cut > above + 2 * ROUNDING * (1 + abs(last)):
                    return rows, products
            asked *= 2
        return None

    def _with_late(
        self,
        query: NDArray[np.float32],
        covered: int,
        places: NDArray[np.int64],
        products: NDArray[np.float32],
        part: NDArray[np.bool_] | None,
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Places and products, with those of the items that have no codes yet."""
        count = len(self.vectors.ids)
        if covered == count:
            return places, products
        late, own = np.arange(covered, count), of_one(query, self.vectors.embedding[covered:])
        if part is not None:
            late, own = late[part[covered:]], own[part[covered:]]
        return np.concatenate([places, late]), np.concatenate([products, own])


def _above(errors: NDArray[np.float32]) -> float:
    """By how much a product is above its estimate at the most, but for one in some hundreds.

    The largest estimates are too large on average, so that a mean below 0 says nothing of others.
    """
    if len(errors) < FEW:
        return np.inf
    return max(0.0, float(errors.mean())) + SURE * float(errors.std())
