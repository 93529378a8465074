"""A gallery: items with their ids, user metadata, coarse embedding and stored tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from lancedb.table import Table

from itr_deploy.bundle.manifest import StorageType
from itr_deploy.bundle.modality import Modality
from itr_deploy.bundle.store import Bundle
from itr_deploy.errors import BundleError, GalleryBusyError, GalleryError, UsageError
from itr_deploy.runtime.encoding.places import Placed
from itr_deploy.runtime.encoding.sources import Source, source
from itr_deploy.runtime.forks import OneProcess
from itr_deploy.runtime.gallery import coarse_index, compacting, writing
from itr_deploy.runtime.gallery.boxes import read_boxes
from itr_deploy.runtime.gallery.checksums import Verified
from itr_deploy.runtime.gallery.given import checked_ids
from itr_deploy.runtime.gallery.layout import ID, Description, named, new_id, schema
from itr_deploy.runtime.gallery.location import Directory, location_of
from itr_deploy.runtime.gallery.lock import DEFAULT_TIMEOUT
from itr_deploy.runtime.gallery.old_versions import KEEP
from itr_deploy.runtime.gallery.table import GalleryTable, Identity, TableState
from itr_deploy.runtime.gallery.writing import Progress
from itr_deploy.runtime.matcher import Matcher
from itr_deploy.values import (
    FLAG,
    GALLERY,
    SECONDS,
    TEXT,
    checked,
    choice,
    each_by_name,
    satisfying,
)

_MATCHER = satisfying(
    "a Matcher, as Matcher.load returns", lambda value: isinstance(value, Matcher)
)


class Gallery(OneProcess):
    """Items of one modality, encoded by one bundle, in a LanceDB table.

    One process may write to a gallery at a time, and a second one waits; any number may read.

    Examples:
        >>> gallery = Gallery.open("gallery/")
        >>> gallery.modality, gallery.count(), gallery.metadata_columns
        ('image', 3, ['price'])
        >>> gallery.ids()
        ['a', 'b', 'c']
    """

    def __init__(
        self, table: GalleryTable, matcher: Matcher | None, *, auto_compact: bool = True
    ) -> None:
        """Wrap an opened table; use `create` or `open`."""
        self.path = table.path
        self.matcher = matcher
        self._auto_compact = auto_compact
        self._table = table

    def __repr__(self) -> str:
        """Modality, path and version."""
        return f"<Gallery of {self.modality}s {self.path!r}, version {self.version}>"

    @classmethod
    @checked(
        path=GALLERY,
        matcher=_MATCHER,
        modality=choice(Modality),
        storage=choice(StorageType),
        ragged=FLAG,
        auto_compact=FLAG,
        storage_options=each_by_name(TEXT),
    )
    def create(
        cls,
        path: str | Path,
        matcher: Matcher,
        modality: Modality = "image",
        storage: StorageType | None = None,
        *,
        ragged: bool = False,
        lock_timeout: float = DEFAULT_TIMEOUT,
        auto_compact: bool = True,
        storage_options: Mapping[str, str] | None = None,
    ) -> Gallery:
        """Make an empty gallery.

        Args:
            path: A directory that holds no gallery yet, or a place in an object store, such as
                ``s3://bucket/gallery``.
            matcher: Encodes what is added.
            modality: ``"image"`` or ``"text"``.
            storage: Type of the stored tensors, float16 by default; it takes half of float32's
                memory, int8 a quarter. A dual encoder stores its vectors alone, in float32.
            ragged: Whether images of any number of regions may be added at any time. Without it
                the first ones decide: if they differ, all may; else all must have as many.
            lock_timeout: Seconds that a change waits for another writer to finish.
            auto_compact: Whether changes now and then join what they have added and remove old
                versions, by which reading stays as fast as it was; False leaves that to `compact`.
            storage_options: What LanceDB is told of an object store besides the environment.

        Raises:
            BundleError: The bundle has no graphs for this type.
            GalleryError: There is a gallery already.
            UsageError: An argument has an invalid value.
        """
        storage = storage or default_storage(matcher)
        check_storage(matcher, storage)
        place = location_of(path, storage_options)
        description = Description.of(matcher.bundle.manifest, modality, storage)
        if ragged and modality == "image" and description.position_bytes:
            fixed = matcher.bundle.manifest.images.regions
            if fixed is not None:
                raise UsageError(f"ragged=True: this bundle's model takes {fixed} regions an image")
            description = description.model_copy(update={"ragged": True})
        layout = schema(description, [], new_id())
        table = GalleryTable.create(place, layout, lock_timeout)
        return cls(table, matcher, auto_compact=auto_compact)

    @classmethod
    @checked(matcher=_MATCHER, auto_compact=FLAG, storage_options=each_by_name(TEXT))
    def open(
        cls,
        path: str | Path,
        matcher: Matcher | None = None,
        *,
        lock_timeout: float = DEFAULT_TIMEOUT,
        auto_compact: bool = True,
        storage_options: Mapping[str, str] | None = None,
    ) -> Gallery:
        """Open an existing gallery.

        Args:
            path: The gallery's directory, or its place in an object store, such as
                ``s3://bucket/gallery``.
            matcher: Needed to add or re-encode items; must be of the bundle that made the gallery.
            lock_timeout: Seconds that a change waits for another writer to finish.
            auto_compact: Whether changes now and then join what they have added and remove old
                versions, by which reading stays as fast as it was; False leaves that to `compact`.
            storage_options: What LanceDB is told of an object store besides the environment.

        Raises:
            BundleError: The bundle has no graphs for what the gallery stores.
            GalleryError: The gallery is missing or damaged, or was made with another bundle.
            UsageError: ``matcher`` is something else.
        """
        table = GalleryTable.open(location_of(path, storage_options), lock_timeout)
        gallery = cls(table, matcher, auto_compact=auto_compact)
        if matcher is not None:
            gallery.check_bundle(matcher)
        return gallery

    @property
    def description(self) -> Description:
        """The gallery's description of itself.

        Raises:
            GalleryError: The table is not a gallery.
        """
        return self._table.state.description

    @property
    def modality(self) -> Modality:
        """The modality of the gallery's items."""
        return self.description.modality

    @property
    def metadata_columns(self) -> list[str]:
        """Names of the user's columns."""
        return list(self._table.state.metadata_columns)

    @property
    def column_types(self) -> dict[str, str]:
        """The user's columns with their Arrow types."""
        layout = self._table.state.schema
        return {name: str(layout.field(name).type) for name in self.metadata_columns}

    @property
    def version(self) -> int:
        """LanceDB's version of the table, raised by every change."""
        return self._table.state.version

    @property
    def identity(self) -> Identity:
        """Which state of which gallery this is: it changes with every change and replacement."""
        return self._table.state.identity

    @property
    def table(self) -> Table:
        """The LanceDB table, for reading."""
        return self._table.lance

    @property
    def opened(self) -> GalleryTable:
        """The table with its errors translated, for what reads the gallery within this package."""
        return self._table

    def check_bundle(self, matcher: Matcher) -> None:
        """Refuse a bundle whose encoders did not make this gallery, or that cannot read it.

        Raises:
            BundleError: The bundle has no graphs for what the gallery stores.
            GalleryError: The gallery was made with another bundle.
        """
        _check_made_by(matcher, self.path, self.description)

    def count(self, where: str | None = None) -> int:
        """Number of items, or of those that a filter keeps.

        Raises:
            GalleryError: The filter is not understood.
        """
        return self._table.count(where)

    def check_filter(self, where: str) -> None:
        """Refuse a filter before it is used.

        Raises:
            GalleryError: It is not understood.
        """
        self._table.sql(where)

    def ids(self) -> list[str]:
        """The ids of all items."""
        return self._table.ids()

    def lookup(self, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        """The user columns of those of some items that are there, by their ids.

        Raises:
            GalleryError: The gallery cannot be read.
        """
        if not ids:
            return {}
        kept = [ID, *self.metadata_columns]
        found = self._table.ask(
            lambda table: table.search().where(named(ids)).select(kept).limit(None).to_arrow()
        )
        return {entry.pop(ID): entry for entry in found.to_pylist()}

    def boxes(self, ids: Sequence[str]) -> list[Placed | None]:
        """Where the regions of images are, for showing what a caption matches.

        They are stored if the gallery's first images had them, see `Regions`.

        Args:
            ids: Ids of images.

        Returns:
            For each id its boxes and its picture's size, or None if it was added without.

        Raises:
            GalleryError: An id is not there, or is given twice.
        """
        names = checked_ids(ids)
        return read_boxes(self._table, names) if names else []

    def add(
        self,
        ids: Sequence[str],
        items: Any,
        metadata: Mapping[str, Sequence[Any]] | None = None,
        progress: Progress = lambda done: None,
    ) -> None:
        """Encode and add items; all of them appear at once, or none.

        Args:
            ids: One per item, unique in the gallery.
            items: Regions ``[N, R, Di]`` (an array in memory or mapped), a list of ``[R_i, Di]``
                or `Regions`, or pictures, see `Matcher.encode_images`; a list of texts, or
                ``(token_ids, lengths)``.
            metadata: User columns, one value per item. The first call decides the columns.
            progress: Called after every batch.

        Raises:
            GalleryError: An id is repeated or already present, or a column is unknown.
            InputError: An item cannot be encoded.
            GalleryBusyError: Another writer is at it for longer than the timeout.
            OutputError: The disk refuses the write; the gallery is unchanged.
        """
        names = checked_ids(ids)
        given = self._source(items, len(names))
        with self._changing():
            writing.add(self._table, names, given, metadata, progress)

    def update(
        self,
        ids: Sequence[str],
        items: Any | None = None,
        metadata: Mapping[str, Sequence[Any]] | None = None,
        progress: Progress = lambda done: None,
    ) -> None:
        """Replace what is stored for existing items; all of them change at once, or none.

        Args:
            ids: Ids of the items.
            items: As for `add`; None keeps the stored encodings.
            metadata: User columns to change; the others keep their values.
            progress: Called after every batch.

        Raises:
            GalleryError: An id is missing, a column is unknown, or there is nothing to change.
            InputError: An item cannot be encoded.
            GalleryBusyError: Another writer is at it for longer than the timeout.
            OutputError: The disk refuses the write; the gallery is unchanged.
        """
        names = checked_ids(ids)
        if items is None and not metadata:
            raise GalleryError("update was given neither items nor metadata")
        given = None if items is None else self._source(items, len(names))
        with self._changing():
            writing.update(self._table, names, given, metadata, progress)

    def upsert(
        self,
        ids: Sequence[str],
        items: Any,
        metadata: Mapping[str, Sequence[Any]] | None = None,
        progress: Progress = lambda done: None,
    ) -> None:
        """Add the items that are new, and replace what is stored for the others, in one commit.

        Args:
            ids: One per item.
            items: As for `add`.
            metadata: User columns, one value per item. Columns that are left out keep their values,
                and have none for new items.
            progress: Called after every batch.

        Raises:
            GalleryError: An id is repeated, or a column is unknown.
            InputError: An item cannot be encoded.
            GalleryBusyError: Another writer is at it for longer than the timeout.
            OutputError: The disk refuses the write; the gallery is unchanged.
        """
        names = checked_ids(ids)
        given = self._source(items, len(names))
        with self._changing():
            writing.upsert(self._table, names, given, metadata, progress)

    def delete(self, ids: Sequence[str]) -> None:
        """Remove items.

        Raises:
            GalleryError: An id is missing; nothing is removed.
            GalleryBusyError: Another writer is at it for longer than the timeout.
        """
        names = checked_ids(ids)
        with self._changing():
            writing.delete(self._table, names)

    def build_coarse_index(self) -> None:
        """Index the coarse embeddings, for searches that cannot keep all of them in memory.

        Shortlists from the index are approximate. It covers the current items: those added later
        are found by scanning them all, until the index is built again.

        Raises:
            GalleryError: The gallery is empty.
            GalleryBusyError: Another writer is at it for longer than the timeout.
            OutputError: The disk refuses the write; the gallery is unchanged.
        """
        with self._table.writing(self._check_as_before):
            writing.build_coarse_index(self._table)

    @property
    def coarse_indexed(self) -> int:
        """Number of items that the coarse index covers, 0 if there is none."""
        return self._table.ask(coarse_index.indexed_rows)

    @checked(keep=SECONDS)
    def compact(self, keep: float = KEEP) -> int:
        """Write the items anew, without those that were deleted and in few files.

        Items keep their order, and searches find what they found. Of deleted and replaced items
        nothing is left in any file once no version that has them is kept: with ``keep=0`` when this
        returns. The coarse index, if there is one, is built anew over all items. A process that is
        killed meanwhile leaves a whole gallery.

        Args:
            keep: Seconds for which old versions stay after they were succeeded. Those who search
                the gallery on disk read the version that they have opened until they refresh; once
                it is gone their searches are one clear error until then. Those who hold it in
                memory notice nothing.

        Returns:
            The number of old versions that were removed.

        Raises:
            GalleryBusyError: Another writer is at it for longer than the timeout.
            GalleryError: A file is not as it was written, or the gallery is in an object store.
            OutputError: The disk has no space for the items beside what is there; the gallery is
                unchanged.
        """
        if not isinstance(self._table.location, Directory):
            raise GalleryError(
                f"{self.path}: a gallery in an object store is not compacted there; copy it to a "
                "local directory, compact that, and copy it back, or index it again"
            )
        with self._table.writing(self._check_as_before):
            return compacting.compact(self._table, keep)

    def snapshot(self) -> Gallery:
        """A read-only view that stays at this version, whatever is written meanwhile.

        Every change and `refresh` of it is a GalleryError.

        Raises:
            GalleryError: The gallery was replaced since it was opened.
        """
        return Gallery(self._table.snapshot(), self.matcher)

    def refresh(self, matcher: Matcher | None = None) -> None:
        """Pick up what others have changed since the gallery was opened, be it another gallery.

        Args:
            matcher: Must have made what is there now; by default the gallery's own.

        Raises:
            BundleError: The bundle has no graphs for what the gallery stores now.
            GalleryError: The gallery is gone or damaged, or another bundle's or another modality's
                is in its place. The gallery stays as it was opened.
        """
        self._table.refresh(self._check_of(matcher or self.matcher))

    def _check_of(self, made_by: Matcher | None) -> Callable[[TableState], None]:
        """Refuses the state of a gallery that cannot take this one's place."""

        def check(state: TableState) -> None:
            if made_by is not None:
                _check_made_by(made_by, self.path, state.description)
            self._check_modality(state)

        return check

    def verify(self) -> Verified:
        """Compare all that a search reads with the checksums of what was written.

        In an object store, which has checksums of its own, every object is to be there with the
        size that was written, and every item to be readable.

        Raises:
            GalleryError: A file is not as it was written; or something has no checksum, since an
                older release wrote it or the writer was killed.
        """
        verified = self._table.verify()
        if not isinstance(self._table.location, Directory):
            for _ in self._table.each(lambda lance: iter(lance.search().limit(None).to_batches())):
                pass
        return verified

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the gallery's lock over work that no other writer may come between.

        Changes by the same thread are part of the work; those by others wait for its end.

        Raises:
            GalleryBusyError: Another writer is at it for longer than the timeout.
            GalleryError: The gallery is gone, or another one is in its place.
        """
        with self._table.writing(self._check_as_before):
            yield

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Hold the lock over a change; now and then join small files after it."""
        before = self.version
        with self._table.writing(self._check_as_before):
            yield
        local = isinstance(self._table.location, Directory)
        if local and self._auto_compact and compacting.is_due(before, self.version):
            # Another writer that is at it may do so itself.
            with suppress(GalleryBusyError), self._table.writing(self._check_as_before):
                compacting.tidy(self._table)

    def _check_as_before(self, state: TableState) -> None:
        """Refuse to write to another kind of gallery than the one that was opened."""
        self._check_modality(state)
        before, now = self.description, state.description
        if (now.encoding_id, now.storage) != (before.encoding_id, before.storage):
            raise GalleryError(
                f"{self.path}: another bundle's gallery, or one of another storage type, is in its "
                "place since it was opened; open it again"
            )

    def _check_modality(self, state: TableState) -> None:
        if state.description.modality != self.modality:
            raise GalleryError(
                f"{self.path}: a gallery of {state.description.modality}s is in the place of this "
                f"one of {self.modality}s; open it again"
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


def latest(gallery: Gallery, matcher: Matcher) -> Gallery | None:
    """What is at a gallery's place now, opened beside it; None if it is what is open.

    Raises:
        BundleError: The bundle has no graphs for what the gallery stores now.
        GalleryError: The gallery is gone or damaged, or another bundle's or another modality's is
            in its place.
    """
    table = gallery.opened.latest(gallery._check_of(matcher))
    return None if table is None else Gallery(table, gallery.matcher)


def adopt(gallery: Gallery, later: Gallery, before: Identity) -> bool:
    """Bring a gallery to what `latest` returned, if it still is in the state ``before``."""
    return gallery.opened.adopt(later.opened, before)


def check_encoding(bundle: Bundle, path: str, about: Description) -> None:
    """Refuse a bundle whose encoders did not make a gallery.

    Raises:
        GalleryError: They did not.
    """
    made_by, given = about.encoding_id, bundle.manifest.encoding_id
    if made_by != given:
        raise GalleryError(
            f"{path}: made with another bundle (encoding {made_by[:12]}, "
            f"{bundle.path} has {given[:12]}); index it again with this one"
        )


def _check_made_by(matcher: Matcher, path: str, about: Description) -> None:
    check_encoding(matcher.bundle, path, about)
    check_storage(matcher, about.storage)


def default_storage(matcher: Matcher) -> StorageType:
    """The type in which a gallery of a bundle stores its tensors where nobody says."""
    return "float32" if matcher.bundle.manifest.is_dual_encoder else "float16"


def check_storage(matcher: Matcher, storage: StorageType) -> None:
    """Refuse a storage type that a bundle's matcher does not read.

    Raises:
        BundleError: The matcher does not read it.
    """
    bundle = matcher.bundle
    known = bundle.manifest.storages
    if storage not in known:
        if bundle.manifest.is_dual_encoder:
            raise BundleError(
                f"{bundle.path}: a dual encoder's galleries hold vectors alone, in float32, not in "
                f"{storage}; leave storage= (--storage) out"
            )
        raise BundleError(
            f"{bundle.path}: its matcher reads galleries of {' and '.join(sorted(known))}, not of "
            f"{storage}: an older itr-deploy exported it, or the model does not bear {storage}; "
            "export it again, or index with another storage= (--storage)"
        )
