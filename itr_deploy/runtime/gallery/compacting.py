"""Writing a gallery's items anew, without those that were deleted and in few files.

The caller holds `GalleryTable.writing`. Every step is a commit or removes what no version names, so
that a process that is killed at any time leaves a whole gallery.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from lancedb.table import Table

from itr_deploy.errors import GalleryError, OutputError
from itr_deploy.runtime.gallery import coarse_index
from itr_deploy.runtime.gallery.files import OWN, table_root
from itr_deploy.runtime.gallery.fragments import ROW_BITS, Fragment
from itr_deploy.runtime.gallery.layout import ID
from itr_deploy.runtime.gallery.location import Files
from itr_deploy.runtime.gallery.moves import Move, Rows, write_move
from itr_deploy.runtime.gallery.old_versions import KEEP, expired, remove_old
from itr_deploy.runtime.gallery.table import GalleryTable
from itr_deploy.runtime.gallery.transaction import Feed, transaction

log = logging.getLogger(__name__)

SMALL_ROWS, SMALL_BYTES = 1_024, 8 << 20
"""A fragment with fewer rows and bytes is small: it can be joined with others in no time."""
JOINED_ROWS, JOINED_BYTES = 4_096, 16 << 20
"""The most that are joined beside a change."""
LOOKED, FRAGMENTS = 16, 32
"""Every 16th version a change looks whether there are 32 small fragments to join."""
VERSIONS, FEW_SECONDS, MANY_VERSIONS = 64, 60.0, 1_000
"""A change removes versions older than `KEEP` where there are 64 of them, and where there are 1,000
that are older than a minute, these."""
WHOLE_BYTES, GONE = 16 << 20, 4
"""A change after which more than a quarter is deleted writes a gallery of up to this size anew."""

PENDING = "coarse_index.pending"
"""There while a coarse index is to be built again."""

READ_ROWS = 256
ROW = "_rowid"


@dataclass(frozen=True)
class Fill:
    """What the current version's files hold.

    Attributes:
        items: Number of items.
        fragments: Parts that they are in.
        deleted: Items that are stored and deleted.
    """

    items: int
    fragments: int
    deleted: int

    @property
    def deleted_share(self) -> float:
        """Part of the stored items that is deleted."""
        return self.deleted / max(1, self.items + self.deleted)


def files_of(table: GalleryTable) -> Files:
    """Count a gallery's files."""
    return table.location.files()


def fill_of(table: GalleryTable) -> Fill:
    """What the current version's files hold.

    Raises:
        GalleryError: The manifest is not understood.
    """
    parts = _parts(table)
    items = table.count()
    return Fill(items, len(parts), sum(part.rows for part in parts) - items)


def compact(table: GalleryTable, keep: float) -> int:
    """Write the items anew where that gains anything, and remove old versions.

    Returns:
        The number of versions that were removed.

    Raises:
        GalleryError: A file is not as it was written.
        OutputError: The disk has no space for the items beside the old files; nothing changed.
    """
    fill, root = fill_of(table), table_root(table.path)
    indexed = bool(table.ask(coarse_index.indexed_rows)) or _pending(root).exists()
    small = _small(table, _parts(table))
    joined = _tail(table)
    if fill.deleted or len(small) > max(1, len(joined)):
        _write_anew(table, root, indexed=indexed)
    elif len(joined) > 1:
        _join(table, root, joined)
    if indexed and table.count():
        covered = table.ask(coarse_index.indexed_rows)
        if covered < table.count():
            transaction(table.location, lambda: coarse_index.build(table.lance))
            table.renew()
    _pending(root).unlink(missing_ok=True)
    return _remove_old(table, root, keep)


def is_due(before: int, after: int) -> bool:
    """Whether a change from one version to another is one that looks; costs nothing."""
    return before // LOOKED != after // LOOKED


def tidy(table: GalleryTable) -> None:
    """What a change does besides, now and then: join its likes, and remove old versions.

    Never writes more than some megabytes. What cannot be done is left to the next change.
    """
    root = table_root(table.path)
    try:
        fill = fill_of(table)
        if fill.deleted * GONE > fill.items + fill.deleted and _may_be_rewritten(table):
            _write_anew(table, root, indexed=False)
        else:
            joined = _tail(table)
            if len(joined) >= FRAGMENTS:
                _join(table, root, joined)
        for keep, least in ((KEEP, VERSIONS), (FEW_SECONDS, MANY_VERSIONS)):
            if expired(root, keep) >= least:
                _remove_old(table, root, keep)
    except (GalleryError, OutputError) as error:
        log.warning("%s: small files are left as they are: %s", table.path, error)


def _remove_old(table: GalleryTable, root: Path, keep: float) -> int:
    tags = table.ask(lambda lance: lance.tags.list())
    return remove_old(table.path, root, keep, {int(tag["version"]) for tag in tags.values()})


def _may_be_rewritten(table: GalleryTable) -> bool:
    size = sum(_bytes(table, part) for part in _parts(table))
    return size <= WHOLE_BYTES and not table.ask(coarse_index.indexed_rows)


def _write_anew(table: GalleryTable, root: Path, *, indexed: bool) -> None:
    """All items in one commit, in their order."""
    # What is damaged would get checksums that fit.
    table.check_contents()
    parts, layout, count = _parts(table), table.state.schema, table.count()
    rows = list[Rows]()

    def read(lance: Table) -> Iterator[pa.RecordBatch]:
        query = lance.search().select(layout.names).limit(None).with_row_id(True)
        return iter(query.to_batches(READ_ROWS))

    def batches() -> Iterator[pa.RecordBatch]:
        for batch in table.each(read):
            rows.append(batch[ROW].to_numpy(zero_copy_only=False).astype(np.int64))
            arrays = [batch[field.name].cast(field.type) for field in layout]
            yield pa.RecordBatch.from_arrays(arrays, schema=layout)
        if sum(map(len, rows)) != count:
            raise GalleryError(f"{table.path}: changed while it was read; compact it again")

    if indexed:
        _pending(root).touch()
    feed = Feed(layout, batches())
    transaction(table.location, lambda: table.overwrite(layout, feed.reader), feed)
    table.renew()
    _tell(table, root, parts, np.concatenate([np.empty(0, np.int64), *rows]))


def _join(table: GalleryTable, root: Path, parts: Sequence[Fragment]) -> None:
    """The last fragments as one, in one commit."""
    first = parts[0].number << ROW_BITS
    found = table.ask(
        lambda lance: (
            lance.search().where(f"{ROW} >= {first}").with_row_id(True).limit(None).to_arrow()
        )
    )
    rows = found[ROW].to_numpy().astype(np.int64)
    if not np.isin(rows >> ROW_BITS, [part.number for part in parts]).all():
        raise GalleryError(f"{table.path}: its fragments are in another order than their numbers")
    layout = table.state.schema
    whole = found.select(layout.names).cast(layout).combine_chunks()
    merge = table.lance.merge_insert(ID).when_matched_update_all()
    transaction(table.location, lambda: merge.execute(whole))
    table.renew()
    after = [part for part in _parts(table) if part.number > parts[-1].number]
    now = table.ask(
        lambda lance: (
            lance.search()
            .where(f"{ROW} >= {after[0].number << ROW_BITS}")
            .select([ID])
            .with_row_id(True)
            .limit(None)
            .to_arrow()
        )
    )
    # Merging promises no order: each row by its id.
    were = dict(zip(whole[ID].to_pylist(), rows.tolist(), strict=True))
    own = np.array([were[name] for name in now[ID].to_pylist()], np.int64)
    _tell(table, root, parts, own)


def _tell(table: GalleryTable, root: Path, before: Sequence[Fragment], rows: Rows) -> None:
    """Keep where the items went, for those who hold them in memory."""
    known = {part.number for part in before}
    last = max(known, default=-1)
    after = [part for part in _parts(table) if part.number > last]
    files = {part.number: part.files for part in before}
    move = Move(table.state.version, files, after, rows)
    if len(move.places) != len(rows) or any(part.deleted for part in after):
        return
    try:
        write_move(root, move)
    except OutputError as error:
        log.warning("%s: whoever holds it in memory reads it again: %s", table.path, error)


def _parts(table: GalleryTable) -> list[Fragment]:
    fragments = table.fragments()
    if fragments is None:
        raise GalleryError(f"{table.path}: the manifest of its version is not understood")
    return list(fragments.of.values())


def _small(table: GalleryTable, parts: Sequence[Fragment]) -> list[Fragment]:
    return [part for part in parts if part.rows < SMALL_ROWS and _bytes(table, part) < SMALL_BYTES]


def _tail(table: GalleryTable) -> list[Fragment]:
    """The small fragments at the table's end, as many as are joined beside a change."""
    found, rows, size = list[Fragment](), 0, 0
    following: int | None = None
    for part in reversed(_parts(table)):
        rows, size = rows + part.rows, size + _bytes(table, part)
        rising = following is None or part.number < following
        if not rising or not _small(table, [part]) or rows > JOINED_ROWS or size > JOINED_BYTES:
            break
        found.append(part)
        following = part.number
    return found[::-1]


def _bytes(table: GalleryTable, part: Fragment) -> int:
    root = table_root(table.path)
    try:
        return sum((root / name).stat().st_size for name in part.names)
    except OSError:
        return SMALL_BYTES


def _pending(root: Path) -> Path:
    return root / OWN / PENDING
