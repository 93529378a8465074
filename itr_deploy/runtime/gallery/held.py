"""Items of a gallery in memory, and how they become those of a later version.

What a later version has besides is written behind what is held, into the same arrays; what it has
no longer is marked. So a change costs what it changes, and nothing that an earlier version's
searches read is touched.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from itr_deploy.errors import GalleryUnreadableError
from itr_deploy.runtime.encoding.encoded import Block, Encoded
from itr_deploy.runtime.gallery import read, rows
from itr_deploy.runtime.gallery.boundary import damaged
from itr_deploy.runtime.gallery.changes import Change
from itr_deploy.runtime.gallery.codes import Codes
from itr_deploy.runtime.gallery.fragments import Fragments
from itr_deploy.runtime.gallery.gallery import Gallery
from itr_deploy.runtime.gallery.growing import Growing, capacity
from itr_deploy.runtime.gallery.in_bytes import InBytes
from itr_deploy.runtime.gallery.layout import EMBEDDING, Description
from itr_deploy.runtime.gallery.pausing import Pause, at_once
from itr_deploy.runtime.gallery.pools import Part, Pool, pooled
from itr_deploy.runtime.gallery.read import Heads, Vectors
from itr_deploy.runtime.gallery.user_columns import UserColumns

Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Held:
    """The items of one version. Safe to use from several threads, also while it is succeeded.

    Items that a later version has no longer keep their places; `places` has the others'.

    Attributes:
        about: The gallery's description.
        rows: ``int64 [N]``, row ids, also of those that are gone.
        ids: ``[N]``.
        there: ``bool [N]``, False for items that are gone; None if none is.
        metadata: The user columns, if they are held.
        fragments: Those of the version; None if they are not known, and no later version can be
            made from this one.
        has_tensors: Whether tensors and user columns are held, besides embeddings.
        codes: Of the embeddings, shared with the versions that are made of this one.
        in_bytes: Tensors once more as bytes, shared likewise.
    """

    about: Description
    rows: Rows
    ids: NDArray[np.str_]
    there: NDArray[np.bool_] | None
    metadata: UserColumns
    fragments: Fragments | None
    has_tensors: bool
    _spare: bool
    _vectors: Growing
    _pools: tuple[Pool, ...] = ()
    _blocks: tuple[Block, ...] = field(default=())
    codes: Codes = field(default_factory=Codes)
    in_bytes: InBytes = field(default_factory=InBytes)

    @classmethod
    def load(
        cls,
        gallery: Gallery,
        fragments: Fragments | None = None,
        *,
        tensors: bool = True,
        spare: bool = True,
        pause: Pause = at_once,
        vectors_of: Held | None = None,
    ) -> Held:
        """Read all items.

        Args:
            gallery: One version of a gallery.
            fragments: The version's.
            tensors: Whether to read tensors and user columns too.
            spare: Whether to reserve space for as many items again, which costs nothing until it
                is used, but for copies on a device.
            pause: Called after every batch.
            vectors_of: The same version without tensors, whose embeddings are taken.

        Raises:
            GalleryError: The gallery cannot be read.
        """
        about = gallery.description
        heads = read.read_heads(gallery)
        vectors = Growing((about.embedding_dim,), np.float32, capacity(len(heads.rows), spare=True))
        taken = vectors_of is not None and np.array_equal(vectors_of.rows, heads.rows)
        if vectors_of is not None and taken:
            vectors = vectors_of._vectors
        empty = cls(
            *(about, heads.rows[:0], heads.ids[:0], None, UserColumns(), fragments),
            *(tensors, spare, vectors),
            codes=vectors_of.codes if vectors_of is not None and taken else Codes(),
        )
        names = [] if taken else [EMBEDDING]
        return empty._extended(gallery, heads, None, names, pause)

    def changed(self, gallery: Gallery, change: Change, pause: Pause = at_once) -> Held:
        """The items of a later version, read where they are new.

        Only the newest version that is made of a gallery may be changed further.

        Raises:
            GalleryError: The gallery cannot be read.
        """
        there = self.there
        if len(change.gone):
            there = np.ones(len(self), np.bool_) if there is None else there.copy()
            there[change.gone] = False
        kept = replace(self, rows=change.rows, there=there, fragments=change.fragments)
        if not len(change.new):
            return kept
        heads = read.read_heads(gallery, change.new)
        return kept._extended(gallery, heads, change.new, [EMBEDDING], pause)

    def without_tensors(self) -> Held:
        """The same items with their embeddings alone."""
        bare = replace(self, has_tensors=False, metadata=UserColumns(), _pools=(), _blocks=())
        return bare.without_bytes()

    def without_bytes(self) -> Held:
        """The same items without the bytes of their tensors."""
        return replace(self, in_bytes=InBytes())

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def places(self) -> Rows:
        """Places of the items that are there, ``int64 [n]``."""
        return np.arange(len(self)) if self.there is None else np.flatnonzero(self.there)

    @property
    def gone(self) -> int:
        """Number of items that are gone but still take memory."""
        return len(self) - len(self.places)

    @cached_property
    def embedding(self) -> NDArray[np.float32]:
        """Coarse embeddings, ``float32 [N, E]``."""
        return self._vectors.first(len(self))

    @cached_property
    def vectors(self) -> Vectors:
        """Ids and embeddings of the items that are there."""
        if self.there is None:
            return Vectors(self.ids, self.embedding)
        return Vectors(self.ids[self.places], self.embedding[self.places])

    @cached_property
    def encoded(self) -> Encoded:
        """All items, also those that are gone."""
        return Encoded(self.about.modality, self.embedding, self._blocks, self.about.encoding_id)

    @property
    def pools(self) -> tuple[tuple[Pool, Block], ...]:
        """Where the tensors are, and the items there."""
        return tuple(zip(self._pools, self._blocks, strict=True))

    @property
    def bytes(self) -> int:
        """Bytes of embeddings, codes and tensors in both forms, also of items that are gone."""
        return (
            self.embedding.nbytes
            + self.codes.bytes
            + self.in_bytes.bytes
            + sum(tensor.nbytes for block in self._blocks for tensor in block.tensors.values())
        )

    @property
    def memory(self) -> int:
        """Where the embeddings are, the same for versions that share them."""
        return id(self._vectors)

    def found(self, row_ids: Rows) -> Rows:
        """Places of the items with these row ids, rising; ids that are not there are left out."""
        known, order = self._by_row
        at = np.minimum(np.searchsorted(known, row_ids), max(0, len(known) - 1))
        hit = known[at] == row_ids if len(known) else np.zeros(len(row_ids), np.bool_)
        return np.sort(order[at[hit]])

    def at(self, row_ids: Rows) -> Rows:
        """Places of the items with these row ids, in their order.

        Raises:
            GalleryUnreadableError: One is not there.
        """
        known, order = self._by_row
        at = np.minimum(np.searchsorted(known, row_ids), max(0, len(known) - 1))
        if len(row_ids) and (not len(known) or (known[at] != row_ids).any()):
            raise GalleryUnreadableError("an item that a search has found is not there any more")
        return order[at] if len(row_ids) else np.empty(0, np.int64)

    @cached_property
    def _by_row(self) -> tuple[Rows, Rows]:
        """Row ids of the items that are there, rising, and their places."""
        own = self.rows[self.places]
        if (own[1:] > own[:-1]).all():
            return own, self.places
        order = np.argsort(own)
        return own[order], self.places[order]

    def _extended(
        self,
        gallery: Gallery,
        heads: Heads,
        wanted: Rows | None,
        names: list[str],
        pause: Pause,
    ) -> Held:
        """With further items behind these, read batch by batch."""
        start, count = len(self), len(heads.rows)
        vectors = self._with_space(start + count)
        columns = list(self.about.columns) if self.has_tensors else []
        names = [*names, *(entry.column for entry in columns)]
        pools, parts = self._pools, list[Part]()
        if self.has_tensors:
            pools, parts = pooled(self.about, self._pools, heads.lengths, count, spare=self._spare)
        done = 0
        for own, batch in (
            _timed(read.tensor_batches(gallery, names, wanted), pause) if names else ()
        ):
            stop = done + len(own)
            if not np.array_equal(own, heads.rows[done:stop]):
                raise _changed(gallery)
            try:
                if EMBEDDING in names:
                    found = rows.values_of(batch[EMBEDDING])
                    vectors.part(start + done, start + stop)[...] = found.reshape(len(own), -1)
                for part in parts:
                    part.fill(batch, done, stop)
            except (ValueError, IndexError) as error:
                problem = f"tensors of wrong sizes: {str(error)[:120]}"
                raise damaged(gallery.path, problem) from error
            done = stop
        if names and done != count:
            raise _changed(gallery)
        before = {pool.number: block for pool, block in zip(self._pools, self._blocks, strict=True)}
        for part in parts:
            part.number(start)
        return replace(
            self,
            rows=np.concatenate([self.rows, heads.rows]),
            ids=np.concatenate([self.ids, heads.ids]),
            there=None if self.there is None else np.append(self.there, np.ones(count, np.bool_)),
            metadata=self.metadata.extended(heads.metadata) if self.has_tensors else self.metadata,
            _vectors=vectors,
            _pools=pools,
            _blocks=tuple(pool.block(before.get(pool.number)) for pool in pools),
        )

    def _with_space(self, count: int) -> Growing:
        """The embeddings' array, or a larger copy of it."""
        if count <= self._vectors.capacity:
            return self._vectors
        larger = Growing((self.about.embedding_dim,), np.float32, capacity(count, spare=True))
        larger.part(0, len(self))[...] = self.embedding
        return larger


def read_all(gallery: Gallery) -> read.StoredItems:
    """All items, each tensor in one contiguous array per block.

    Raises:
        GalleryError: The gallery changed during reading, or cannot be read.
    """
    held = Held.load(gallery)
    return read.StoredItems(held.ids, held.metadata, held.encoded)


def _changed(gallery: Gallery) -> GalleryUnreadableError:
    return GalleryUnreadableError(f"{gallery.path}: changed while it was read; load it again")


def _timed(
    batches: Iterator[tuple[Rows, pa.RecordBatch]], pause: Pause
) -> Iterator[tuple[Rows, Any]]:
    """The batches; after each there is a pause, which knows how long reading and using it took."""
    began = time.perf_counter()
    for batch in batches:
        yield batch
        pause(time.perf_counter() - began)
        began = time.perf_counter()
