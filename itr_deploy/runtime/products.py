"""Dot products of coarse vectors.

A single query's products do not use BLAS. It would not be faster, since reading the rows from
memory takes most of the time; and after a product BLAS's threads spin while they wait for the next,
which takes a core from the prefilter and the matcher for tens of milliseconds
(docs/performance.md).

An item may have several vectors, its views, one after the other. It is then as many times as wide
as an item of the other side, and its best view counts.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]


def product(queries: Vectors, rows: Vectors) -> Vectors:
    """Products of every query with every row, ``[Q, N]``.

    Args:
        queries: ``[Q, E]``, or ``[Q, views * E]``.
        rows: ``[N, E]``, or ``[N, views * E]``; one side alone has views.
    """
    own, other = queries.shape[1], rows.shape[1]
    if own < other:
        of_views = product(queries, rows.reshape(-1, own))
        best: Vectors = of_views.reshape(len(queries), len(rows), other // own).max(axis=2)
        return best
    if own > other:
        of_views = queries.reshape(-1, other) @ rows.T
        best = of_views.reshape(len(queries), own // other, len(rows)).max(axis=1)
        return best
    if len(queries) == 1:
        products: Vectors = np.einsum("ne,e->n", rows, queries[0])
        return products[None]
    return queries @ rows.T


def of_one(query: Vectors, rows: Vectors) -> Vectors:
    """Products of one query with every row: ``[E], [N, E] -> [N]``; see `product`."""
    one: Vectors = product(query[None], rows)[0]
    return one
