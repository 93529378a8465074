"""Changes to a gallery's table, each in one commit: everything that was asked for, or nothing.

The caller holds `GalleryTable.writing`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from itr_deploy.errors import GalleryError
from itr_deploy.runtime.encoding.sources import TOGETHER, Source
from itr_deploy.runtime.gallery import coarse_index, rows
from itr_deploy.runtime.gallery.given import fields_in, metadata_table, overflows
from itr_deploy.runtime.gallery.layout import (
    ID,
    Description,
    describe,
    has_boxes,
    named,
    new_id,
    own_id,
    schema,
)
from itr_deploy.runtime.gallery.table import GalleryTable
from itr_deploy.runtime.gallery.transaction import Feed, transaction

log = logging.getLogger(__name__)

Progress = Callable[[int], None]
"""Called with the number of items done so far."""

Metadata = Mapping[str, Sequence[Any]] | None
"""User columns, one value per item."""


def add(
    table: GalleryTable, names: list[str], given: Source, metadata: Metadata, progress: Progress
) -> None:
    """Encode and add items.

    Raises:
        GalleryError: An id is already present, or a column or the number of regions does not fit.
        InputError: An item cannot be encoded.
        OutputError: The disk refuses the write; the table is unchanged.
    """
    present = table.present(names)
    if present:
        raise GalleryError(
            f"{table.path}: id {min(present)!r} is there already "
            f"({len(present)} of {len(names)} are); Gallery.update replaces items"
        )
    if not names:
        return
    extra = metadata_table(metadata, len(names), types_of(table))
    if table.count() == 0:
        # The first items decide the columns.
        layout = first_layout(table, given, extra)
        feed = _feed(table, layout, names, given, extra, progress)
        transaction(table.location, lambda: table.overwrite(layout, feed.reader), feed)
        return
    _check_positions(table, given)
    _check_columns(table, extra)
    _tell_of_boxes(table, given)
    feed = _feed(table, table.state.schema, names, given, extra, progress)
    transaction(table.location, lambda: table.lance.add(feed.reader), feed)


def update(
    table: GalleryTable,
    names: list[str],
    given: Source | None,
    metadata: Metadata,
    progress: Progress,
) -> None:
    """Replace what is stored for existing items; ``given=None`` keeps their encodings.

    Raises:
        GalleryError: An id is missing, or a column or the number of regions does not fit.
        InputError: An item cannot be encoded.
        OutputError: The disk refuses the write; the table is unchanged.
    """
    _require(table, names)
    extra = metadata_table(metadata, len(names), types_of(table))
    _check_columns(table, extra)
    if given is not None:
        _check_positions(table, given)
        _tell_of_boxes(table, given)
    if not names:
        return
    _merge(table, names, given, extra, progress)


def upsert(
    table: GalleryTable, names: list[str], given: Source, metadata: Metadata, progress: Progress
) -> None:
    """Add the items that are not there, and replace what is stored for those that are.

    Raises:
        GalleryError: A column or the number of regions does not fit.
        InputError: An item cannot be encoded.
        OutputError: The disk refuses the write; the table is unchanged.
    """
    if table.count() == 0:
        add(table, names, given, metadata, progress)
        return
    extra = metadata_table(metadata, len(names), types_of(table))
    _check_columns(table, extra)
    _check_positions(table, given)
    _tell_of_boxes(table, given)
    if names:
        _merge(table, names, given, extra, progress, adds=True)


def _merge(
    table: GalleryTable,
    names: list[str],
    given: Source | None,
    extra: pa.Table,
    progress: Progress,
    *,
    adds: bool = False,
) -> None:
    """Replace the columns that are given; with ``adds`` of new items the others have no value."""
    state = table.state
    if given is None:
        changed = {ID, *extra.column_names}
    else:
        untouched = set(state.metadata_columns) - set(extra.column_names)
        changed = set(state.schema.names) - untouched
    layout = _subset(state.schema, changed)
    feed = _feed(table, layout, names, given, extra, progress)
    merge = table.lance.merge_insert(ID).when_matched_update_all()
    if adds:
        merge = merge.when_not_matched_insert_all()
    transaction(table.location, lambda: merge.execute(feed.reader), feed)


def delete(table: GalleryTable, names: list[str]) -> None:
    """Remove items.

    Raises:
        GalleryError: An id is missing; nothing is removed.
        OutputError: The disk refuses the write; the table is unchanged.
    """
    _require(table, names)
    if names:
        transaction(table.location, lambda: table.lance.delete(named(names)))


def build_coarse_index(table: GalleryTable) -> None:
    """Build the index of the coarse embeddings, or rebuild it over all items.

    Raises:
        GalleryError: The table is empty.
        OutputError: The disk refuses the write; the table is unchanged.
    """
    if not table.count():
        raise GalleryError(f"{table.path}: is empty; add items before its coarse index")
    views = table.state.description.views
    if views is not None:
        raise GalleryError(
            f"{table.path}: its items have {views} vectors each, of which the best counts, and a "
            "coarse index holds one an item; search this gallery without"
        )
    transaction(table.location, lambda: coarse_index.build(table.lance))


def _require(table: GalleryTable, names: list[str]) -> None:
    absent = set(names) - table.present(names)
    if absent:
        raise GalleryError(
            f"{table.path}: no item {min(absent)!r} ({len(absent)} of {len(names)} are absent)"
        )


def first_layout(table: GalleryTable, given: Source, extra: pa.Table) -> pa.Schema:
    """The schema of an empty table that receives these items."""
    return layout_for(table.state.description, own_id(table.state.schema), given, extra)


def layout_for(about: Description, gallery_id: str, given: Source, extra: pa.Table) -> pa.Schema:
    """The schema of a gallery whose first items these are; it gets an id where it has none."""
    if about.modality == "image" and about.position_bytes:
        if given.are_ragged or about.ragged:
            about = about.model_copy(update={"ragged": True})
        else:
            about = about.model_copy(update={"positions": given.positions})
    own = gallery_id or new_id()
    return schema(about, list(extra.schema), own, boxes=given.have_boxes)


def _check_positions(table: GalleryTable, given: Source) -> None:
    about = table.state.description
    if about.modality == "text" or not about.position_bytes or about.ragged:
        return
    if given.are_ragged or given.positions != about.positions:
        found = "different numbers" if given.are_ragged else given.positions
        raise GalleryError(
            f"{table.path}: its images have {about.positions} regions, these have {found}; make a "
            "gallery for any number with Gallery.create(..., ragged=True)"
        )


def _tell_of_boxes(table: GalleryTable, given: Source) -> None:
    if given.have_boxes and not has_boxes(table.state.schema):
        log.warning(
            "%s: its first images had no boxes, and it stores none; those of these images are not "
            "kept",
            table.path,
        )


def types_of(table: GalleryTable) -> dict[str, pa.DataType]:
    """The types of the user's columns."""
    state = table.state
    return {name: state.schema.field(name).type for name in state.metadata_columns}


def _check_columns(table: GalleryTable, extra: pa.Table) -> None:
    state = table.state
    unknown = set(extra.column_names) - set(state.metadata_columns)
    if unknown:
        raise GalleryError(
            f"{table.path}: no metadata column {min(unknown)!r}; "
            f"it has {', '.join(state.metadata_columns) or 'none'}"
        )
    for name in extra.column_names:
        wanted, given = state.schema.field(name).type, extra.schema.field(name).type
        unknown = set(fields_in(given)) - set(fields_in(wanted))
        try:
            fits = not unknown and not overflows(extra[name], extra[name].cast(wanted))
        except pa.ArrowException:
            fits = False
        if not fits:
            raise GalleryError(
                f"{table.path}: metadata column {name!r} holds {wanted}, not {given}"
            )


def _feed(
    table: GalleryTable,
    layout: pa.Schema,
    names: list[str],
    given: Source | None,
    extra: pa.Table,
    progress: Progress,
) -> Feed:
    """Items as LanceDB reads them, encoded batch by batch."""
    description = describe(layout, table.path)

    def batches() -> Iterator[pa.RecordBatch]:
        step = TOGETHER if given is None else given.together
        for start in range(0, len(names), step):
            part = slice(start, min(start + step, len(names)))
            batch = to_batch(description, layout, names, given, extra, part)
            if batch is not None:
                yield batch
            progress(part.stop)

    return Feed(layout, batches())


def to_batch(
    description: Description,
    layout: pa.Schema,
    names: list[str],
    given: Source | None,
    extra: pa.Table,
    part: slice,
) -> pa.RecordBatch | None:
    """A slice of the items, encoded, with their columns; None if all were left out."""
    items = None if given is None else given.encode(part)
    left_out = set() if given is None else given.broken.keys()
    kept = [number for number in range(part.start, part.stop) if number not in left_out]
    if not kept:
        return None
    own = [names[number] for number in kept]
    stores = given is not None and given.have_boxes and has_boxes(layout)
    places = [given.placed(number) for number in kept] if given and stores else []
    return rows.to_batch(description, layout, own, items, extra.take(kept), places)


def _subset(whole: pa.Schema, names: set[str]) -> pa.Schema:
    """The named columns of ``whole``, in its order."""
    return pa.schema([field for field in whole if field.name in names], metadata=whole.metadata)
