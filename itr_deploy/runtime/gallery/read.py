"""Reading items back from a gallery's table."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from lancedb.table import Table
from numpy.typing import NDArray

from itr_deploy.errors import GalleryError
from itr_deploy.runtime.encoding.encoded import Encoded
from itr_deploy.runtime.gallery import coarse_index, rows
from itr_deploy.runtime.gallery.boundary import damaged
from itr_deploy.runtime.gallery.boxes import check_there, named
from itr_deploy.runtime.gallery.gallery import Gallery
from itr_deploy.runtime.gallery.given import checked_ids
from itr_deploy.runtime.gallery.layout import EMBEDDING, ID, LENGTH, Description

ROW = "_rowid"
READ_ROWS = 256
"""Rows per batch when a gallery is read: some tens of megabytes at published sizes."""


@dataclass(frozen=True, eq=False)
class StoredItems:
    """Items read from a gallery: ``ids [N]``, their user columns, and the tensors."""

    ids: NDArray[np.str_]
    metadata: pa.Table
    encoded: Encoded

    def describe(self, places: NDArray[np.int64]) -> tuple[dict[str, Any], ...]:
        """The user columns of some items, one dictionary per item."""
        if not self.metadata.num_columns:
            # Arrow forgets the number of rows of a table without columns.
            return tuple({} for _ in places)
        return tuple(self.metadata.take(pa.array(places)).to_pylist())


@dataclass(frozen=True, eq=False)
class Vectors:
    """Every item's id and coarse embedding: ``ids [N]``, ``embedding float32 [N, E]``."""

    ids: NDArray[np.str_]
    embedding: NDArray[np.float32]


def read_vectors(gallery: Gallery) -> tuple[Vectors, NDArray[np.int64]]:
    """Ids and embeddings in the order of `read_all`, and the row ids that `read_rows` takes."""
    found = gallery.opened.ask(
        lambda table: (
            table.search().select([ID, EMBEDDING]).with_row_id(True).limit(None).to_arrow()
        )
    )
    vectors = found[EMBEDDING].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    embedding = vectors.reshape(len(found), gallery.description.embedding_dim)
    return Vectors(_id_array(found), embedding), found[ROW].to_numpy().astype(np.int64)


def stored_bytes(gallery: Gallery) -> int:
    """Bytes of all items' tensors and embeddings in memory."""
    about, count = gallery.description, gallery.count()
    if about.positions is not None or not about.has_lengths:
        positions = count * (about.positions or 0)
    else:
        positions = int(_lengths(gallery).sum())
    item_bytes = about.item_bytes + about.embedding_dim * np.dtype(np.float32).itemsize
    return positions * about.position_bytes + count * item_bytes


def read_all(gallery: Gallery) -> StoredItems:
    """All items, each tensor in one contiguous array per block.

    Raises:
        GalleryError: The gallery changed during reading, or cannot be read.
    """
    small = [ID, *gallery.metadata_columns]
    head = gallery.opened.ask(lambda table: table.search().select(small).limit(None).to_arrow())
    lengths = _lengths(gallery) if gallery.description.has_lengths else None
    seen: list[str] = []
    batches = _remembering(_batches(gallery, None, [ID, *_item_columns(gallery.description)]), seen)
    encoded = _decoded(gallery, gallery.description, batches, head.num_rows, lengths)
    if seen != head[ID].to_pylist():
        raise GalleryError(f"{gallery.path}: changed while it was read; load it again")
    return StoredItems(_id_array(head), head.select(gallery.metadata_columns), encoded)


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
    names = [ID, *gallery.metadata_columns, *_item_columns(about)]
    wanted = row_ids.tolist()
    found = gallery.opened.ask(
        lambda table: table.take_row_ids(wanted).select(names).with_row_id().to_arrow()
    )
    if len(found) != len(wanted):
        raise damaged(
            gallery.path, f"{len(wanted) - len(found)} of {len(wanted)} items are missing"
        )
    order = np.argsort(found[ROW].to_numpy())[np.argsort(np.argsort(row_ids))]
    return _items(gallery, about, found.take(pa.array(order)))


def read_in_parts(gallery: Gallery, where: str | None) -> Iterator[StoredItems]:
    """All items that a filter keeps, a batch at a time."""
    names = [ID, *gallery.metadata_columns, *_item_columns(gallery.description)]
    for batch in _batches(gallery, where, names):
        yield _items(gallery, gallery.description, pa.Table.from_batches([batch]))


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
    return found[ROW].to_numpy().astype(np.int64), vectors.reshape(len(found), -1), _id_array(found)


def filtered_rows(gallery: Gallery, where: str) -> NDArray[np.int64]:
    """Row ids of the items that a filter keeps.

    Raises:
        GalleryError: The filter is not understood.
    """
    found = _filtered(gallery, where)
    return found[ROW].to_numpy().astype(np.int64)  # type: ignore[no-any-return]


def filtered_ids(gallery: Gallery, where: str) -> list[str]:
    """Ids of the items that a filter keeps.

    Raises:
        GalleryError: The filter is not understood.
    """
    found = _filtered(gallery, where)
    return found[ID].to_pylist()  # type: ignore[no-any-return]


def _filtered(gallery: Gallery, where: str) -> pa.Table:
    """Ids and row ids of the items that a filter keeps."""
    sql = gallery.opened.sql(where)
    return gallery.opened.ask(
        lambda table: (
            table.search().where(sql).select([ID]).with_row_id(True).limit(None).to_arrow()
        ),
        where,
    )


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
    return StoredItems(_id_array(table), table.select(gallery.metadata_columns), encoded)


def _item_columns(about: Description) -> list[str]:
    length = [LENGTH] if about.has_lengths else []
    return [*length, EMBEDDING, *(entry.column for entry in about.columns)]


def _batches(gallery: Gallery, where: str | None, names: list[str]) -> Iterator[pa.RecordBatch]:
    sql = None if where is None else gallery.opened.sql(where)

    def batches(table: Table) -> Iterator[pa.RecordBatch]:
        query = table.search().select(names).limit(None)
        if sql is not None:
            query = query.where(sql)
        return iter(query.to_batches(READ_ROWS))

    yield from gallery.opened.each(batches, where)


def _remembering(batches: Iterator[pa.RecordBatch], seen: list[str]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        seen += batch[ID].to_pylist()
        yield batch


def _lengths(gallery: Gallery) -> NDArray[np.int64]:
    found = gallery.opened.ask(lambda table: table.search().select([LENGTH]).limit(None).to_arrow())
    return found[LENGTH].to_numpy().astype(np.int64)  # type: ignore[no-any-return]


def _id_array(table: pa.Table) -> NDArray[np.str_]:
    return np.array(table[ID].to_pylist(), dtype=np.str_)
