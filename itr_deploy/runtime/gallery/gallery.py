"""A gallery: items with their ids, user metadata, coarse embedding and stored tensors."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lancedb
import pyarrow as pa
from lancedb.table import Table

from itr_deploy.bundle.manifest import StorageType
from itr_deploy.bundle.modality import Modality
from itr_deploy.bundle.names import first_repeated
from itr_deploy.errors import BundleError, GalleryError
from itr_deploy.runtime.encoding.sources import Source, source
from itr_deploy.runtime.gallery import coarse_index, rows
from itr_deploy.runtime.gallery.layout import (
    ID,
    TABLE,
    Description,
    describe,
    metadata_columns,
    metadata_table,
    schema,
)
from itr_deploy.runtime.gallery.transaction import Feed, gallery_errors, transaction
from itr_deploy.runtime.matcher import Matcher

Progress = Callable[[int], None]
"""Called with the number of items done so far."""

BATCH = 64


class Gallery:
    """Items of one modality, encoded by one bundle, in a LanceDB table.

    One process may write to a gallery at a time; any number may read.
    """

    def __init__(self, path: str | Path, table: Table, matcher: Matcher | None) -> None:
        """Wrap an opened table; use `create` or `open`."""
        self.path = str(path)
        self._table = table
        self.matcher = matcher

    @classmethod
    def create(
        cls,
        path: str | Path,
        matcher: Matcher,
        modality: Modality = "image",
        storage: StorageType = "float16",
    ) -> Gallery:
        """Make an empty gallery.

        Args:
            path: A directory (or any address LanceDB takes) that holds no gallery yet.
            matcher: Encodes what is added.
            modality: ``"image"`` or ``"text"``.
            storage: Type of the stored tensors; float16 halves the memory, int8 quarters it.

        Raises:
            BundleError: The bundle has no graphs for this type.
            GalleryError: There is one already.
        """
        check_storage(matcher, storage)
        description = Description.of(matcher.bundle.manifest, modality, storage)
        with gallery_errors(path):
            database = lancedb.connect(str(path))
            if TABLE in _table_names(database):
                raise GalleryError(
                    f"{path}: a gallery is there already; open it or delete it first"
                )
            table = database.create_table(TABLE, schema=schema(description, []))
        return cls(path, table, matcher)

    @classmethod
    def open(cls, path: str | Path, matcher: Matcher | None = None) -> Gallery:
        """Open an existing gallery.

        Args:
            path: Where it is.
            matcher: Needed to add or re-encode items; must be of the bundle that made it.

        Raises:
            BundleError: The bundle has no graphs for what the gallery stores.
            GalleryError: There is none, it is damaged, or it was made with another bundle.
        """
        if "://" not in str(path) and not Path(path).is_dir():
            raise GalleryError(f"{path}: no such gallery; make one with itr-deploy index")
        with gallery_errors(path):
            database = lancedb.connect(str(path))
            if TABLE not in _table_names(database):
                raise GalleryError(f"{path}: no gallery in it; make one with itr-deploy index")
            table = database.open_table(TABLE)
        gallery = cls(path, table, matcher)
        if matcher is not None:
            gallery.check_bundle(matcher)
        return gallery

    @property
    def description(self) -> Description:
        """What the gallery says of itself.

        Raises:
            GalleryError: The table is no gallery.
        """
        return describe(self._table.schema, self.path)

    @property
    def modality(self) -> Modality:
        """What its items are."""
        return self.description.modality

    @property
    def metadata_columns(self) -> list[str]:
        """Names of the user's columns."""
        return metadata_columns(self._table.schema)

    @property
    def version(self) -> int:
        """LanceDB's version of the table, raised by every change."""
        return int(self._table.version)

    @property
    def table(self) -> Table:
        """The LanceDB table, for reading."""
        return self._table

    def check_bundle(self, matcher: Matcher) -> None:
        """Refuse a bundle whose encoders did not make this gallery, or that cannot read it.

        Raises:
            BundleError: It has no graphs for what the gallery stores.
            GalleryError: It is another.
        """
        made_by, given = self.description.encoding_id, matcher.bundle.manifest.encoding_id
        if made_by != given:
            raise GalleryError(
                f"{self.path}: made with another bundle (encoding {made_by[:12]}, "
                f"{matcher.bundle.path} has {given[:12]}); index it again with this one"
            )
        check_storage(matcher, self.description.storage)

    def count(self, where: str | None = None) -> int:
        """Number of items, of those that a filter keeps.

        Raises:
            GalleryError: The filter is not understood.
        """
        with gallery_errors(self.path, where):
            return int(self._table.count_rows(where))

    def ids(self) -> list[str]:
        """Every item's id."""
        with gallery_errors(self.path):
            found = self._table.search().select([ID]).limit(None).to_arrow()
        return found[ID].to_pylist()  # type: ignore[no-any-return]

    def add(
        self,
        ids: Sequence[str],
        items: Any,
        metadata: Mapping[str, Sequence[Any]] | None = None,
        progress: Progress = lambda done: None,
    ) -> None:
        """Encode and add items; all of them appear at once, or none.

        Args:
            ids: One an item, unique in the gallery.
            items: Regions ``[N, R, Di]`` (an array in memory or mapped), a list of texts, or
                ``(token_ids, lengths)``.
            metadata: User columns, one value an item. The first call decides the columns.
            progress: Called after every batch.

        Raises:
            GalleryError: An id is double or there already, or a column is unknown.
            InputError: An item cannot be encoded.
            OutputError: The disk refuses; the gallery is as it was.
        """
        names = _checked_ids(ids)
        given = self._source(items, len(names))
        with self._writing():
            self._add(names, given, metadata, progress)

    def _add(
        self,
        names: list[str],
        given: Source,
        metadata: Mapping[str, Sequence[Any]] | None,
        progress: Progress,
    ) -> None:
        present = set(self.ids()) & set(names)
        if present:
            raise GalleryError(
                f"{self.path}: id {min(present)!r} is there already "
                f"({len(present)} of {len(names)} are); use update to replace items"
            )
        if not names:
            return
        extra = metadata_table(metadata, len(names))
        empty = self.count() == 0
        layout = self._layout_for(given, extra, empty)
        feed = self._feed(layout, names, given, extra, progress)
        if empty:
            database = lancedb.connect(self.path)
            self._table = transaction(
                self.path,
                lambda: database.create_table(
                    TABLE, data=feed.reader, schema=layout, mode="overwrite"
                ),
                feed,
            )
        else:
            transaction(self.path, lambda: self._table.add(feed.reader), feed)

    def update(
        self,
        ids: Sequence[str],
        items: Any | None = None,
        metadata: Mapping[str, Sequence[Any]] | None = None,
        progress: Progress = lambda done: None,
    ) -> None:
        """Replace what is stored of items that are there; all of them change at once, or none.

        Args:
            ids: The items.
            items: As for `add`; None keeps what was encoded.
            metadata: User columns to change; the others keep their values.
            progress: Called after every batch.

        Raises:
            GalleryError: An id is not there, a column is unknown, or nothing is to be changed.
            InputError: An item cannot be encoded.
            OutputError: The disk refuses; the gallery is as it was.
        """
        names = _checked_ids(ids)
        if items is None and not metadata:
            raise GalleryError("update was given neither items nor metadata")
        given = None if items is None else self._source(items, len(names))
        with self._writing():
            self._update(names, given, metadata, progress)

    def _update(
        self,
        names: list[str],
        given: Source | None,
        metadata: Mapping[str, Sequence[Any]] | None,
        progress: Progress,
    ) -> None:
        self._require(names)
        extra = metadata_table(metadata, len(names))
        self._check_columns(extra)
        if given is not None:
            self._check_positions(given)
        if not names:
            return
        kept = set(self.metadata_columns) - set(extra.column_names)
        if given is None:
            changed = {ID, *extra.column_names}
        else:
            changed = {field.name for field in self._table.schema} - kept
        layout = _subset(self._table.schema, changed)
        feed = self._feed(layout, names, given, extra, progress)
        merge = self._table.merge_insert(ID).when_matched_update_all()
        transaction(self.path, lambda: merge.execute(feed.reader), feed)

    def delete(self, ids: Sequence[str]) -> None:
        """Remove items.

        Raises:
            GalleryError: An id is not there; nothing is removed.
        """
        names = _checked_ids(ids)
        quoted = ", ".join("'" + name.replace("'", "''") + "'" for name in names)
        with self._writing():
            self._require(names)
            if names:
                transaction(self.path, lambda: self._table.delete(f"{ID} IN ({quoted})"))

    def build_coarse_index(self) -> None:
        """Index the coarse embeddings, for searches that cannot keep all of them in memory.

        Shortlists that come from it are approximate. It covers the items that are there: those
        added later are found by reading them all, until it is built again.

        Raises:
            GalleryError: The gallery is empty.
            OutputError: The disk refuses; the gallery is as it was.
        """
        with self._writing():
            if not self.count():
                raise GalleryError(f"{self.path}: is empty; add items before its coarse index")
            transaction(self.path, lambda: coarse_index.build(self._table))

    @property
    def coarse_indexed(self) -> int:
        """Items that the coarse index covers, 0 where there is none."""
        with gallery_errors(self.path):
            return coarse_index.indexed_rows(self._table)

    def snapshot(self) -> Gallery:
        """A gallery for reading that stays at this version, whatever is written meanwhile."""
        with gallery_errors(self.path):
            table = lancedb.connect(self.path).open_table(TABLE)
            table.checkout(self.version)
        return Gallery(self.path, table, self.matcher)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """One write at a time in this process, from what the gallery holds now."""
        with _lock_of(self.path):
            self.refresh()
            yield

    def refresh(self) -> None:
        """See what other processes have changed since the gallery was opened."""
        with gallery_errors(self.path):
            self._table.checkout_latest()  # type: ignore[no-untyped-call]

    def _require(self, names: list[str]) -> None:
        absent = set(names) - set(self.ids())
        if absent:
            raise GalleryError(
                f"{self.path}: no item {min(absent)!r} ({len(absent)} of {len(names)} are absent)"
            )

    def _source(self, items: Any, count: int) -> Source:
        if self.matcher is None:
            raise GalleryError(
                f"{self.path}: opened without a matcher; it is needed to encode items"
            )
        given = source(self.matcher, items, self.modality)
        if given.count != count:
            raise GalleryError(f"{count} ids were given for {given.count} items")
        return given

    def _layout_for(self, given: Source, extra: pa.Table, empty: bool) -> pa.Schema:
        """The table's schema; an empty gallery takes it from the first items."""
        description = self.description
        if empty:
            if description.modality == "image" and description.position_bytes:
                description = description.model_copy(update={"positions": given.positions})
            return schema(description, list(extra.schema))
        self._check_positions(given)
        self._check_columns(extra)
        return self._table.schema

    def _check_positions(self, given: Source) -> None:
        about = self.description
        if about.modality == "text" or not about.position_bytes:
            return
        if given.positions != about.positions:
            raise GalleryError(
                f"{self.path}: its images have {about.positions} regions, "
                f"these have {given.positions}"
            )

    def _check_columns(self, extra: pa.Table) -> None:
        unknown = set(extra.column_names) - set(self.metadata_columns)
        if unknown:
            raise GalleryError(
                f"{self.path}: no metadata column {min(unknown)!r}; "
                f"it has {', '.join(self.metadata_columns) or 'none'}"
            )
        for name in extra.column_names:
            wanted = self._table.schema.field(name).type
            try:
                extra[name].cast(wanted)
            except pa.ArrowException as error:
                raise GalleryError(
                    f"{self.path}: metadata column {name!r} holds {wanted}, "
                    f"not {extra.schema.field(name).type}"
                ) from error

    def _feed(
        self,
        layout: pa.Schema,
        names: list[str],
        given: Source | None,
        extra: pa.Table,
        progress: Progress,
    ) -> Feed:
        description = describe(layout, self.path)

        def batches() -> Iterator[pa.RecordBatch]:
            for start in range(0, len(names), BATCH):
                part = slice(start, min(start + BATCH, len(names)))
                yield rows.to_batch(
                    description,
                    layout,
                    names[part],
                    None if given is None else given.encode(part),
                    extra.slice(start, part.stop - start),
                )
                progress(part.stop)

        return Feed(layout, batches())


def check_storage(matcher: Matcher, storage: StorageType) -> None:
    """Refuse a type that a bundle's matcher does not read.

    Raises:
        BundleError: It does not.
    """
    bundle = matcher.bundle
    known = bundle.manifest.storages
    if storage not in known:
        raise BundleError(
            f"{bundle.path}: its matcher reads galleries of {' and '.join(sorted(known))}, not of "
            f"{storage}: an older itr-deploy exported it, or the model does not bear {storage}; "
            "export it again, or index with another --storage"
        )


_locks: dict[str, threading.RLock] = {}
_locks_lock = threading.Lock()


def _lock_of(path: str) -> threading.RLock:
    """The lock of a gallery, the same for everything in this process that has it open."""
    key = path if "://" in path else str(Path(path).resolve())
    with _locks_lock:
        return _locks.setdefault(key, threading.RLock())


def _subset(whole: pa.Schema, names: set[str]) -> pa.Schema:
    """The columns of ``whole`` that are named, in its order."""
    return pa.schema([field for field in whole if field.name in names], metadata=whole.metadata)


def _table_names(database: Any) -> list[str]:
    return list(database.list_tables().tables)


def _checked_ids(ids: Sequence[str]) -> list[str]:
    names = list(ids)
    for place, name in enumerate(names):
        if not isinstance(name, str) or not name:
            raise GalleryError(f"id {place} is {name!r}; ids are non-empty strings")
    double = first_repeated(names)
    if double is not None:
        raise GalleryError(f"id {double!r} is given twice; ids must be unique")
    return names
