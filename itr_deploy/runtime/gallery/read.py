"""Reading items back from a gallery's table."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from lancedb.table import Table
from numpy.typing import NDArray

from itr_deploy.runtime.encoding.encoded import Encoded
from itr_deploy.runtime.gallery import coarse_index, rows
from itr_deploy.runtime.gallery.boundary import damaged
from itr_deploy.runtime.gallery.boxes import check_there
from itr_deploy.runtime.gallery.gallery import Gallery
from itr_deploy.runtime.gallery.given import checked_ids
from itr_deploy.runtime.gallery.layout import EMBEDDING, ID, LENGTH, Description, named
from itr_deploy.runtime.gallery.user_columns import UserColumns

ROW = "_rowid"
READ_ROWS = 256
"""Rows per batch when a gallery is read: some tens of megabytes at published sizes."""

LISTED = 4096
"""Ids that are turned into Python's strings at once, which takes a millisecond."""


@dataclass(frozen=True, eq=False)
class StoredItems:
    """Items read from a gallery: ``ids [N]``, their user columns, and the tensors."""

    ids: NDArray[np.str_]
    metadata: UserColumns
    encoded: Encoded

    def describe(self, places: NDArray[np.int64]) -> tuple[dict[str, Any], ...]:
        """The user columns of some items, one dictionary per item."""
        return self.metadata.describe(places)


@dataclass(frozen=True, eq=False)
class Vectors:
    """Every item's id and coarse embedding: ``ids [N]``, ``embedding float32 [N, E]``."""

    ids: NDArray[np.str_]
    embedding: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Heads:
    """Everything about items but their embeddings and tensors, which take the memory.

    Attributes:
        rows: ``int64 [N]``, their row ids.
        ids: ``[N]``.
        lengths: ``int64 [N]``, their numbers of words or regions; None if these are not stored.
        metadata: The user columns.
    """

    rows: NDArray[np.int64]
    ids: NDArray[np.str_]
    lengths: NDArray[np.int64] | None
    metadata: pa.Table


def read_heads(gallery: Gallery, row_ids: NDArray[np.int64] | None = None) -> Heads:
    """The heads of the items with these row ids, in this order; by default of all items.

    Raises:
        GalleryError: An item is missing.
    """
    has_lengths = gallery.description.has_lengths
    names = [ID, *gallery.metadata_columns, *([LENGTH] if has_lengths else [])]
    if row_ids is None:
        found = gallery.opened.ask(
            lambda table: table.search().select(names).with_row_id(True).limit(None).to_arrow()
        )
    else:
        found = _taken(gallery, row_ids, names)
    lengths = found[LENGTH].to_numpy().astype(np.int64) if has_lengths else None
    metadata = found.select(gallery.metadata_columns)
    return Heads(found[ROW].to_numpy().astype(np.int64), _id_array(found), lengths, metadata)


def read_row_ids(gallery: Gallery) -> NDArray[np.int64]:
    """The row ids of all items, in the table's order."""
    found = gallery.opened.ask(
        lambda table: table.search().select([ID]).with_row_id(True).limit(None).to_arrow()
    )
    return found[ROW].to_numpy().astype(np.int64)  # type: ignore[no-any-return]


def tensor_batches(
    gallery: Gallery, names: Sequence[str], row_ids: NDArray[np.int64] | None = None
) -> Iterator[tuple[NDArray[np.int64], pa.RecordBatch]]:
    """Columns of the items with these row ids, in this order; by default of all items.

    Yields:
        Row ids and columns of the next items, a few at a time.

    Raises:
        GalleryError: An item is missing.
    """
    if row_ids is None:
        batches = _batches(gallery, None, [*names], row_ids=True)
    else:
        parts = (row_ids[start : start + READ_ROWS] for start in range(0, len(row_ids), READ_ROWS))
        tables = (_taken(gallery, part, names) for part in parts)
        batches = (table.combine_chunks().to_batches()[0] for table in tables)
    for batch in batches:
        yield batch[ROW].to_numpy(zero_copy_only=False).astype(np.int64), batch


def stored_bytes(gallery: Gallery, count: int | None = None) -> int:
    """Bytes of all items' tensors and embeddings in memory; give their number if it is known."""
    about = gallery.description
    count = gallery.count() if count is None else count
    if about.positions is not None or not about.has_lengths:
        positions = count * (about.positions or 0)
    else:
        positions = int(_lengths(gallery).sum())
    item_bytes = about.item_bytes + about.embedding_dim * np.dtype(np.float32).itemsize
    return positions * about.position_bytes + count * item_bytes


def read_rows(
    gallery: Gallery, row_ids: NDArray[np.int64], tensors: Collection[str] | None = None
) -> StoredItems:
    """The items with these row ids, in this order.

    Args:
        gallery: The gallery.
        row_ids: ``int64 [N]``, each at most once.
        tensors: Names of the stored tensors to read, None for all.
    """
    about = gallery.description
    if tensors is not None:
        kept = tuple(spec for spec in about.tensors if spec.name in tensors)
        about = about.model_copy(update={"tensors": kept})
    names = [ID, *gallery.metadata_columns, *item_columns(about)]
    return _items(gallery, about, _taken(gallery, row_ids, names))


def _taken(gallery: Gallery, row_ids: NDArray[np.int64], names: Sequence[str]) -> pa.Table:
    """Columns of the items with these row ids, and the row ids, in their order."""
    wanted, columns = row_ids.tolist(), list(names)
    found = gallery.opened.ask(
        lambda table: table.take_row_ids(wanted).select(columns).with_row_id().to_arrow()
    )
    if len(found) != len(wanted):
        raise damaged(
            gallery.path, f"{len(wanted) - len(found)} of {len(wanted)} items are missing"
        )
    rows = found[ROW].to_numpy()
    if np.array_equal(rows, row_ids):
        return found
    return found.take(pa.array(np.argsort(rows)[np.argsort(np.argsort(row_ids))]))


def read_in_parts(
    gallery: Gallery, where: str | None
) -> Iterator[tuple[NDArray[np.int64], StoredItems]]:
    """All items that a filter keeps, a batch at a time, with their row ids."""
    names = [ID, *gallery.metadata_columns, *item_columns(gallery.description)]
    for batch in _batches(gallery, where, names, row_ids=True):
        rows = batch[ROW].to_numpy(zero_copy_only=False).astype(np.int64)
        yield rows, _items(gallery, gallery.description, pa.Table.from_batches([batch]))


def read_named(gallery: Gallery, names: Sequence[str]) -> StoredItems:
    """The items with these ids, in this order.

    Raises:
        GalleryError: An id is not there, is given twice, or is none.
    """
    names = checked_ids(names)
    found = gallery.opened.ask(
        lambda table: (
            table.search().where(named(names)).select([ID]).with_row_id(True).limit(None).to_arrow()
        )
    ).to_pydict()
    rows = dict(zip(found[ID], found[ROW], strict=True))
    check_there(gallery.path, names, rows)
    return read_rows(gallery, np.array([rows[name] for name in names], np.int64))


def nearest_rows(
    gallery: Gallery,
    embedding: NDArray[np.float32],
    count: int,
    where: str | None,
    indexed: int = 0,
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.str_]]:
    """Row ids, embeddings and ids of the items with the largest dot products, unordered.

    With a coarse index over ``indexed`` rows the result is approximate.
    """
    sql = None if where is None else gallery.opened.sql(where)

    def nearest(table: Table) -> pa.Table:
        query: Any = table.search(embedding, vector_column_name=EMBEDDING)
        query = query.distance_type("dot").limit(count).with_row_id(True)
        query = coarse_index.searching(query, indexed)
        query = query.select([ID, EMBEDDING, "_distance"])
        if sql is not None:
            query = query.where(sql, prefilter=True)
        return query.to_arrow()

    found = gallery.opened.ask(nearest, where)
    vectors = found[EMBEDDING].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    rows = found[ROW].to_numpy().astype(np.int64)
    return rows, vectors.reshape(-1, len(embedding)), _id_array(found)


def filtered_rows(gallery: Gallery, where: str) -> NDArray[np.int64]:
    """Row ids of the items that a filter keeps.

    Raises:
        GalleryError: The filter is not understood.
    """
    sql = gallery.opened.sql(where)
    found = gallery.opened.ask(
        lambda table: (
            table.search().where(sql).select([ID]).with_row_id(True).limit(None).to_arrow()
        ),
        where,
    )
    return found[ROW].to_numpy().astype(np.int64)  # type: ignore[no-any-return]


def _decoded(
    gallery: Gallery,
    about: Description,
    batches: Iterable[pa.RecordBatch],
    count: int,
    lengths: NDArray[np.int64] | None,
) -> Encoded:
    try:
        return rows.from_batches(about, batches, count, lengths)
    except (ValueError, IndexError) as error:
        raise damaged(gallery.path, f"tensors of wrong sizes: {str(error)[:120]}") from error


def _items(gallery: Gallery, about: Description, table: pa.Table) -> StoredItems:
    lengths = table[LENGTH].to_numpy().astype(np.int64) if about.has_lengths else None
    whole = table.combine_chunks().to_batches()
    encoded = _decoded(gallery, about, whole, table.num_rows, lengths)
    metadata = UserColumns().extended(table.select(gallery.metadata_columns))
    return StoredItems(_id_array(table), metadata, encoded)


def item_columns(about: Description) -> list[str]:
    """Names of the columns that make an item's `Encoded`."""
    length = [LENGTH] if about.has_lengths else []
    return [*length, EMBEDDING, *(entry.column for entry in about.columns)]


def _batches(
    gallery: Gallery, where: str | None, names: list[str], *, row_ids: bool = False
) -> Iterator[pa.RecordBatch]:
    sql = None if where is None else gallery.opened.sql(where)

    def batches(table: Table) -> Iterator[pa.RecordBatch]:
        query = table.search().select(names).limit(None)
        if row_ids:
            query = query.with_row_id(True)
        if sql is not None:
            query = query.where(sql)
        return iter(query.to_batches(READ_ROWS))

    yield from gallery.opened.each(batches, where)


def _lengths(gallery: Gallery) -> NDArray[np.int64]:
    found = gallery.opened.ask(lambda table: table.search().select([LENGTH]).limit(None).to_arrow())
    return found[LENGTH].to_numpy().astype(np.int64)  # type: ignore[no-any-return]


def _id_array(table: pa.Table) -> NDArray[np.str_]:
    # In parts: Arrow makes a list without letting another thread run.
    parts = [
        np.array(table[ID].slice(start, LISTED).to_pylist(), np.str_)
        for start in range(0, len(table), LISTED)
    ]
    return np.concatenate(parts) if parts else np.empty(0, np.str_)
