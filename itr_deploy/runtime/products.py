"""Dot products of coarse vectors.

A single query's products do not use BLAS. It would not be faster, since reading the rows from
memory takes most of the time; and after a product BLAS's threads spin while they wait for the next,
which takes a core from the prefilter and the matcher for tens of milliseconds
(docs/performance.md).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]


def product(queries: Vectors, rows: Vectors) -> Vectors:
    """Products of every query with every row: ``[Q, E], [N, E] -> [Q, N]``."""
    return of_one(queries[0], rows)[None] if len(queries) == 1 else queries @ rows.T


def of_one(query: Vectors, rows: Vectors) -> Vectors:
    """Products of one query with every row: ``[E], [N, E] -> [N]``."""
    products: Vectors = np.einsum("ne,e->n", rows, query)
    return products
