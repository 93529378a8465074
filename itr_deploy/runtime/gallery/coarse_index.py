"""The coarse index: approximate search over coarse embeddings that memory has no room for.

Partitions with vectors of one bit a dimension (LanceDB's IVF_RQ) were built quickest of its indexes
and lost least (docs/performance.md). Codes are so cheap to compare that most partitions are
searched, and `REFINED` times as many items as are wanted are compared by their own vectors.
"""

from __future__ import annotations

import math
from typing import Any

from lancedb.index import IvfRq, IvfSq
from lancedb.table import Table

from itr_deploy.runtime.gallery.layout import EMBEDDING

FROM = 500_000
"""Items from which `itr-deploy index` builds one: 2 GB of vectors at a width of 1024."""
PROBED, REFINED = 0.75, 4

_ROTATED = 8
"""IVF_RQ takes vectors of a multiple of so many dimensions; others are kept at a byte each."""


def build(table: Table) -> None:
    """Build a table's index, or build it again over all rows."""
    width = table.schema.field(EMBEDDING).type.list_size
    kind = IvfRq if width % _ROTATED == 0 else IvfSq
    partitions = _partitions(table.count_rows())
    config = kind(distance_type="dot", num_partitions=partitions)
    table.create_index(EMBEDDING, config=config, replace=True)


def indexed_rows(table: Table) -> int:
    """Rows that the index covers, 0 where there is none; LanceDB reads all others."""
    found = [index for index in table.list_indices() if index.columns == [EMBEDDING]]
    return found[0].num_indexed_rows or 0 if found else 0


def searching(query: Any, indexed: int) -> Any:
    """A vector query that uses the index over so many rows as it should be used."""
    if not indexed:
        return query
    return query.nprobes(math.ceil(PROBED * _partitions(indexed))).refine_factor(REFINED)


def _partitions(rows: int) -> int:
    return max(1, round(math.sqrt(rows) / 3))
