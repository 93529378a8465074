"""Dot products of coarse vectors.

A single query's products do not use BLAS. It would not be faster, since reading the rows from
memory takes most of the time; and after a product BLAS's threads spin while they wait for the next,
which takes a core from the prefilter and the matcher for tens of milliseconds
(docs/performance.md). Those of a few queries are cut into products so small that BLAS computes them
in the thread that asks: to wake the others, and to wait for a core that they share with whatever
else runs, took ten times as long as the product.

An item may have several vectors, its views, one after the other. It is then as many times as wide
as an item of the other side, and its best view counts.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]

ALONE = 1 << 18
"""Multiplications up to which OpenBLAS, which NumPy brings, takes no other thread (its
``SMP_THRESHOLD_MIN * GEMM_MULTITHREAD_THRESHOLD``)."""
FEW = 1 << 28
"""Multiplications that one thread does in ten milliseconds or two; of more, all do their part."""
LEAST = 4
"""Rows of a piece; of fewer, BLAS would be called for each by itself."""


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
    piece = ALONE // max(1, queries.size)
    if piece < LEAST or len(queries) * rows.size > FEW:
        return queries @ rows.T
    return _in_pieces(queries, rows, piece)


def _in_pieces(queries: Vectors, rows: Vectors, piece: int) -> Vectors:
    """`product`, by so many rows at a time."""
    products = np.empty((len(queries), len(rows)), np.float32)
    whole = len(rows) - len(rows) % piece
    pieces = rows[:whole].reshape(-1, piece, rows.shape[1])
    # [pieces, Q, piece]: NumPy calls BLAS once a piece.
    products[:, :whole] = (
        (queries @ pieces.transpose(0, 2, 1)).swapaxes(0, 1).reshape(len(queries), whole)
    )
    products[:, whole:] = queries @ rows[whole:].T
    return products


def of_one(query: Vectors, rows: Vectors) -> Vectors:
    """Products of one query with every row: ``[E], [N, E] -> [N]``; see `product`."""
    one: Vectors = product(query[None], rows)[0]
    return one
