"""Converts encoded items to rows of a gallery's table, and back."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from itr_deploy.runtime.encoding.encoded import Block, Encoded, length_groups
from itr_deploy.runtime.encoding.places import Placed
from itr_deploy.runtime.gallery.layout import (
    BOXES,
    EMBEDDING,
    ID,
    LENGTH,
    PICTURE_SIZE,
    TENSOR_PREFIX,
    Description,
    has_boxes,
)


def to_batch(
    description: Description,
    table_schema: pa.Schema,
    ids: list[str],
    items: Encoded | None,
    metadata: pa.Table,
    places: Sequence[Placed | None] = (),
) -> pa.RecordBatch:
    """One record batch with the schema's columns; columns that are not given are null."""
    columns: dict[str, pa.Array] = {ID: pa.array(ids, pa.string())}
    for name in metadata.column_names:
        columns[name] = metadata[name].combine_chunks()
    if items is not None:
        columns |= _item_columns(description, table_schema, items)
    if has_boxes(table_schema) and places:
        boxes = [None if one is None else one.boxes.reshape(-1) for one in places]
        sizes = [None if one is None else one.picture_size for one in places]
        columns |= {BOXES: pa.array(boxes), PICTURE_SIZE: pa.array(sizes)}
    arrays = [
        columns[f.name].cast(f.type) if f.name in columns else pa.nulls(len(ids), f.type)
        for f in table_schema
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=table_schema)


def _item_columns(
    description: Description, table_schema: pa.Schema, items: Encoded
) -> dict[str, pa.Array]:
    columns = {EMBEDDING: _fixed(items.embedding, pa.float32())}
    if description.has_lengths:
        columns[LENGTH] = pa.array(_lengths(items), pa.int32())
    stored = items.stored_as(description.storage)
    for entry in description.columns:
        kind = table_schema.field(entry.column).type
        columns[entry.column] = _tensor_array(stored, entry.name, kind)
    return columns


def from_batches(
    description: Description,
    batches: Iterable[pa.RecordBatch],
    count: int,
    lengths: NDArray[np.int64] | None,
) -> Encoded:
    """Rows as one `Encoded`, each tensor in one contiguous array per block.

    Args:
        description: The gallery's description.
        batches: Record batches with the embedding and tensor columns, ``count`` rows in all.
        count: Number of rows.
        lengths: ``int64 [count]`` for texts and ragged images, known before their tensors are
            read.
    """
    embedding = np.empty((count, description.embedding_dim), np.float32)
    if lengths is None or not description.position_bytes:
        groups = [np.arange(count)]
    elif description.ragged:
        groups = [np.flatnonzero(lengths == length) for length in np.unique(lengths)]
    else:
        groups = length_groups(lengths, description.positions)
    blocks = [_empty_block(description, rows, lengths) for rows in groups]
    start = 0
    for batch in batches:
        places = np.arange(start, start + batch.num_rows)
        embedding[places] = values_of(batch[EMBEDDING]).reshape(len(places), -1)
        for entry in description.columns:
            for block in blocks:
                _fill(block, entry.name, places, batch[entry.column])
        start += batch.num_rows
    filled = tuple(block for block in blocks if len(block.rows))
    return Encoded(description.modality, embedding, filled, description.encoding_id)


def _empty_block(
    description: Description, rows: NDArray[np.int64], lengths: NDArray[np.int64] | None
) -> Block:
    own = None if lengths is None else lengths[rows]
    positions = description.positions or (int(own.max()) if own is not None and len(own) else 1)
    tensors = {
        entry.name: np.zeros(entry.shape(len(rows), positions), np.dtype(entry.storage))
        for entry in description.columns
    }
    return Block(rows, tensors, None if description.modality == "image" else own)


def _fill(block: Block, name: str, places: NDArray[np.int64], column: pa.Array) -> None:
    """Copy those rows of ``column`` (the items at ``places``) that belong to the block."""
    first, last = (
        np.searchsorted(block.rows, [places[0], places[-1] + 1]) if len(places) else (0, 0)
    )
    if first < last:
        put(block.tensors[name][first:last], column, block.rows[first:last] - places[0])


def put(target: NDArray[Any], column: pa.Array, chosen: NDArray[np.int64]) -> None:
    """Copy one tensor of some items from its column.

    Args:
        target: ``[n, ...]`` for the ``n`` items; positions beyond an item's own become zeros.
        column: Lists of a batch's items.
        chosen: ``int64 [n]``, the items' places in the batch, rising.

    Raises:
        ValueError: An item's list does not fit.
    """
    values = values_of(column)
    if pa.types.is_fixed_size_list(column.type):
        items = values.reshape(len(column), -1)
        own = items if len(chosen) == len(items) else items[chosen]
        target[...] = own.reshape(target.shape)
        return
    width = math.prod(target.shape[2:])
    # In rows of the tensor: where every item begins, and how many it has.
    offsets, odd = np.divmod(column.offsets.to_numpy() - column.offsets[0].as_py(), width)
    starts, counts = offsets[chosen], (offsets[1:] - offsets[:-1])[chosen]
    if odd.any() or counts.max(initial=0) > target.shape[1]:
        raise ValueError(f"up to {counts.max(initial=0)} positions of {width} values")
    filled = np.arange(target.shape[1]) < counts[:, None]
    inside = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    found = values.reshape(-1, *target.shape[2:])[np.repeat(starts, counts) + inside]
    target[~filled] = 0
    target[filled] = found


def column_of(name: str) -> str:
    """The column of a stored tensor or of scales."""
    return TENSOR_PREFIX + name


def values_of(column: pa.Array) -> NDArray[Any]:
    """The values in a column of lists, one list after the other."""
    return column.flatten().to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]


def _fixed(matrix: NDArray[Any], value: pa.DataType) -> pa.Array:
    flat = pa.array(np.ascontiguousarray(matrix).reshape(-1), value)
    return pa.FixedSizeListArray.from_arrays(flat, matrix.shape[1])


def _lengths(items: Encoded) -> NDArray[np.int64]:
    lengths = np.empty(len(items), np.int64)
    for block in items.blocks:
        # Images of one block have as many regions as there are rows.
        lengths[block.rows] = block.positions if block.lengths is None else block.lengths
    return lengths


def _tensor_array(items: Encoded, name: str, kind: pa.DataType) -> pa.Array:
    """One tensor of all items as a list column; texts are cut to their own length."""
    parts: list[NDArray[Any]] = [np.empty(0)] * len(items)
    for block in items.blocks:
        tensor = block.tensors[name]
        for place, row in enumerate(block.rows):
            item = tensor[place]
            if not pa.types.is_fixed_size_list(kind) and block.lengths is not None:
                item = item[: block.lengths[place]]
            parts[row] = item.reshape(-1)
    values = pa.array(np.concatenate(parts) if parts else [], kind.value_type)
    if pa.types.is_fixed_size_list(kind):
        return pa.FixedSizeListArray.from_arrays(values, kind.list_size)
    offsets = np.concatenate([[0], np.cumsum([len(part) for part in parts])])
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values)
