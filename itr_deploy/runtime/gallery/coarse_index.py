"""The coarse index: approximate search over coarse embeddings that do not fit in memory.

LanceDB's IVF_RQ, partitions with vectors of one bit per dimension, was the quickest of its indexes
to build and lost the least (docs/performance.md). Codes are so cheap to compare that most
partitions are searched; `REFINED` times the items wanted are then compared by their full vectors.
"""

from __future__ import annotations

import math
from typing import Any

from lancedb.index import IvfRq, IvfSq
from lancedb.table import Table

from itr_deploy.runtime.gallery.layout import EMBEDDING

FROM = 500_000
"""Number of items from which `itr-deploy index` builds one: 2 GB of vectors at a width of 1024."""
PROBED, REFINED = 0.75, 4

_ROTATED = 8
"""IVF_RQ needs a multiple of this many dimensions; other vectors take one byte per dimension."""


def build(table: Table) -> None:
    """Build a table's index, or rebuild it over all rows."""
    width = table.schema.field(EMBEDDING).type.list_size
    kind = IvfRq if width % _ROTATED == 0 else IvfSq
    partitions = _partitions(table.count_rows())
    config = kind(distance_type="dot", num_partitions=partitions)
    table.create_index(EMBEDDING, config=config, replace=True)


def indexed_rows(table: Table) -> int:
    """Rows that the index covers, 0 if there is none; LanceDB scans all other rows."""
    found = [index for index in table.list_indices() if index.columns == [EMBEDDING]]
    return found[0].num_indexed_rows or 0 if found else 0


def searching(query: Any, indexed: int) -> Any:
    """A vector query with the right settings for an index over this many rows."""
    if not indexed:
        return query
    return query.nprobes(math.ceil(PROBED * _partitions(indexed))).refine_factor(REFINED)


def _partitions(rows: int) -> int:
    return max(1, round(math.sqrt(rows) / 3))
