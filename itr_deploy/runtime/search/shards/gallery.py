"""A gallery in shards: what is asked of one besides searches, asked of the shard that knows."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import TimeoutError as LateError
from concurrent.futures import wait
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from itr_deploy.bundle.modality import Modality
from itr_deploy.errors import GalleryError, ItrDeployError
from itr_deploy.runtime.encoding.encoded import Encoded
from itr_deploy.runtime.encoding.places import Placed
from itr_deploy.runtime.gallery.filters import filter_sql
from itr_deploy.runtime.gallery.given import checked_ids
from itr_deploy.runtime.gallery.layout import filter_columns, metadata_columns
from itr_deploy.runtime.gallery.sharding.shards import Shards, shards_of
from itr_deploy.runtime.search.narrowing import Narrowing
from itr_deploy.runtime.search.searcher import Searched
from itr_deploy.runtime.search.shards.replicas import Call, Group, Watch
from itr_deploy.runtime.search.shards.searcher import Missing, ShardedSearcher
from itr_deploy.runtime.search.shards.shard import LostError, ShardState, Stored

LOADED = 600.0
"""Seconds that a replica may take to load a version."""


@dataclass(frozen=True)
class ShardStatus:
    """A shard that is searched.

    Attributes:
        name: Its directory's name.
        items: Number of its items.
        versions: The version that each living replica searches.
        replicas: Number of its replicas.
        processes: The processes that hold them, by their hosts' names and numbers.
    """

    name: str
    items: int
    versions: tuple[int, ...]
    replicas: int
    processes: tuple[str, ...]

    @property
    def living(self) -> int:
        """Number of replicas that answer."""
        return len(self.versions)


class ShardedGallery:
    """A gallery in shards that are searched, as `Retriever.gallery` where it searches shards.

    Safe to use from several threads. It is changed shard by shard, see `Shards`.
    """

    def __init__(
        self,
        shards: Shards,
        groups: Sequence[Group],
        *,
        missing: Missing,
        timeout: float,
        parts: frozenset[Narrowing],
        share: Callable[[Encoded], Any] = lambda queries: queries,
        close: Callable[[], object] = lambda: None,
        watched: bool = False,
    ) -> None:
        """Take the shards that somebody holds.

        Args:
            shards: The record of them.
            groups: Their replicas.
            missing: What becomes of a search where a shard does not answer.
            timeout: Seconds that a search may take.
            parts: Which parts of the matcher narrow shortlists.
            share: Makes of queries what several calls may be given.
            close: Ends the replicas.
            watched: Whether to look, in a thread, which replicas live.

        Raises:
            GalleryError: A shard is not what the record says, or has other columns than the first.
        """
        self.path = str(shards.root)
        self.searcher = ShardedSearcher(
            groups, share, missing=missing, timeout=timeout, parts=parts
        )
        self._groups = groups
        self._refreshing = threading.Lock()
        self._check = _checker(shards, groups[0].state.schema)
        for group in groups:
            for member in group.members:
                if (wrong := self._check(member.state)) is not None:
                    raise GalleryError(f"{member.name}: {wrong}")
        watch = Watch(groups, self._check)
        self._end = weakref.finalize(self, _end, watch, close)
        if watched:
            watch.start()

    def __repr__(self) -> str:
        """Number, modality and path of the shards."""
        return f"<Gallery of {self.modality}s in {len(self._groups)} shards {self.path!r}>"

    @property
    def modality(self) -> Modality:
        """The modality of the items."""
        return self._groups[0].state.modality

    @property
    def metadata_columns(self) -> list[str]:
        """Names of the user's columns."""
        return metadata_columns(self._groups[0].state.schema)

    @property
    def column_types(self) -> dict[str, str]:
        """The user's columns with their Arrow types."""
        layout = self._groups[0].state.schema
        return {name: str(layout.field(name).type) for name in metadata_columns(layout)}

    @property
    def searched(self) -> Searched:
        """The sum of the shards' versions, which every change raises, and of their items."""
        return self.searcher.searched

    @property
    def status(self) -> tuple[ShardStatus, ...]:
        """What is known of every shard, by its number; nobody is asked."""
        return tuple(
            ShardStatus(
                group.name,
                group.state.items,
                tuple(one.state.identity.version for one in group.members if one.lives),
                len(group.members),
                tuple(one.state.process for one in group.members if one.lives),
            )
            for group in self._groups
        )

    def count(self, where: str | None = None) -> int:
        """Number of items, or of those that a filter keeps.

        Raises:
            GalleryError: The filter is not understood.
            ShardUnavailableError: A shard does not answer.
        """
        if where is None:
            return self.searched.items
        self.check_filter(where)
        numbers = range(len(self._groups))
        return sum(self.searcher.ask(number, Call("count", (where,))) for number in numbers)

    def check_filter(self, where: str) -> None:
        """Refuse a filter before it is used.

        Raises:
            GalleryError: It is not understood.
        """
        filter_sql(where, filter_columns(self._groups[0].state.schema))

    def lookup(self, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        """The user columns of those of some items that are there, by their ids.

        Raises:
            ShardUnavailableError: A shard that may have one does not answer.
        """
        found: dict[str, dict[str, Any]] = {}
        for number, places in self._split(ids).items():
            own = [ids[place] for place in places]
            found |= self.searcher.ask(number, Call("lookup", (own,)))
        return found

    def stored(self, ids: Sequence[str]) -> list[tuple[NDArray[np.int64], Stored]]:
        """Items by their ids, as they are stored: of every shard the places in ``ids``, and them.

        Raises:
            GalleryError: One is not there, or is given twice.
            ShardUnavailableError: A shard that has one does not answer.
        """
        return [
            (places, self.searcher.ask(number, Call("stored", ([ids[p] for p in places],))))
            for number, places in self._split(checked_ids(ids)).items()
        ]

    def boxes(self, ids: Sequence[str]) -> list[Placed | None]:
        """Where the regions of images are; see `Gallery.boxes`.

        Raises:
            GalleryError: One is not there, or is given twice.
            ShardUnavailableError: A shard that has one does not answer.
        """
        found: list[Placed | None] = [None for _ in ids]
        for places, items in self.stored(ids):
            for place, entry in zip(places, items.placed, strict=True):
                found[place] = entry
        return found

    def warm(
        self,
        queries: Encoded,
        k: int,
        candidates: int | None,
        prefilter: int | None,
        refine: int | None,
    ) -> None:
        """Have every replica search once."""
        answers = [
            member.replica.ask("warm", queries, k, candidates, prefilter, refine)
            for group in self._groups
            for member in group.members
            if member.lives
        ]
        # What goes wrong is told by the search that needs it.
        wait(answers, LOADED)

    def refresh(self) -> bool:
        """Bring every replica to its shard's newest version, one of a shard at a time.

        The others answer meanwhile, from what they have. A version of another encoding is not gone
        to.

        Returns:
            Whether one has changed.

        Raises:
            GalleryError: What is there now cannot be searched; the shard's replicas stay as they
                are, and those of the other shards are refreshed.
        """
        changed, problem = False, None
        with self._refreshing:
            for group in self._groups:
                try:
                    changed |= self._refresh(group)
                except ItrDeployError as error:
                    problem = problem or error
        if problem is not None:
            raise problem
        return changed

    def _refresh(self, group: Group) -> bool:
        changed = False
        for member in group.members:
            # One that does not live loads the newest version when it is started again.
            if not (member.lives or member.refused):
                continue
            try:
                state = member.replica.ask("refresh").result(LOADED)
            except LateError:
                member.fell(f"not refreshed within {LOADED:.0f} s")
                continue
            except LostError as error:
                member.fell(error)
                continue
            if (wrong := self._check(state)) is not None:
                member.fell(wrong, refused=True)
                raise GalleryError(f"{member.name}: {wrong}")
            changed |= state.identity != member.state.identity or member.refused
            member.went_to(state)
            member.rose(state)
        return changed

    def close(self) -> None:
        """End the replicas that were started for this gallery; nothing can be searched then."""
        self._end()

    def _split(self, ids: Sequence[str]) -> Mapping[int, NDArray[np.int64]]:
        """Which shard has which places of some ids."""
        numbers = shards_of(ids, len(self._groups))
        return {int(number): np.flatnonzero(numbers == number) for number in np.unique(numbers)}


def _checker(shards: Shards, first: pa.Schema) -> Callable[[ShardState], str | None]:
    return lambda state: _wrong(state, shards, first)


def _wrong(state: ShardState, shards: Shards, first: pa.Schema) -> str | None:
    """What is wrong with a shard, None if nothing is."""
    if state.encoding_id != shards.record.encoding_id:
        return (
            f"is of another bundle (encoding {state.encoding_id[:12]}, the shards are of "
            f"{shards.record.encoding_id[:12]}); make it again"
        )
    if state.modality != shards.record.modality:
        return f"holds {state.modality}s, the shards hold {shards.record.modality}s"
    own, of_first = (
        {n: s.field(n).type for n in metadata_columns(s)} for s in (state.schema, first)
    )
    if own != of_first:
        differing = min(n for n in own.keys() | of_first.keys() if own.get(n) != of_first.get(n))
        return f"its column {differing!r} is not that of the first shard; add items to both alike"
    return None


def _end(watch: Watch, close: Callable[[], object]) -> None:
    watch.close()
    close()
