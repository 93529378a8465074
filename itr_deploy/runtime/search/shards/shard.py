"""What a shard is asked and answers, wherever it is held.

All that one search asks of a shard after the first time names the state that was answered from
then: row ids are those of one version.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from itr_deploy.bundle.modality import Modality
from itr_deploy.runtime.encoding.encoded import Encoded
from itr_deploy.runtime.encoding.places import Placed
from itr_deploy.runtime.gallery.table import Identity
from itr_deploy.runtime.search.narrowing import Narrowing
from itr_deploy.runtime.search.searcher import Contenders

Rows = NDArray[np.int64]
Scores = NDArray[np.float32]


class StaleError(Exception):
    """A shard does not have the state any more that a search began with."""


class LostError(Exception):
    """A shard, or one of its replicas, does not answer."""


class GoneError(LostError):
    """It will not come back by itself."""


@dataclass(frozen=True)
class ShardState:
    """What a shard searches now.

    Attributes:
        identity: Which state of which gallery.
        items: Number of its items.
        modality: Of the items.
        encoding_id: Encoding id of the bundle that made them.
        schema: The gallery's columns.
        process: The process that holds it, by its host's name and number.
    """

    identity: Identity
    items: int
    modality: Modality
    encoding_id: str
    schema: pa.Schema
    process: str


@dataclass(frozen=True, eq=False)
class Nearest:
    """A shard's answer of the coarse stage.

    Attributes:
        identity: What was searched.
        allowed: Number of items that the filter keeps.
        contenders: Of every query.
    """

    identity: Identity
    allowed: int
    contenders: Sequence[Contenders]


@dataclass(frozen=True, eq=False)
class Found:
    """A shard's contenders for the hits of one query, with their user columns."""

    ids: NDArray[np.str_]
    scores: Scores
    metadata: Sequence[dict[str, Any]]


@dataclass(frozen=True, eq=False)
class Matched:
    """A shard's answer of the last stage: what was searched, and what each query found."""

    identity: Identity
    found: Sequence[Found]


@dataclass(frozen=True, eq=False)
class Stored:
    """Items as they are stored.

    Attributes:
        encoded: Their tensors.
        placed: Where the regions of images are, None of those that have none.
    """

    encoded: Encoded
    placed: Sequence[Placed | None]


class Shard(Protocol):
    """Answers for the items of one shard. Safe to use from several threads.

    Every method raises `StaleError` where it is told of a state that is not there any more, and the
    errors of a search.
    """

    def state(self) -> ShardState:
        """What is searched now."""
        ...

    def nearest(self, queries: Encoded, width: int, where: str | None) -> Nearest:
        """The coarse stage's contenders for ``width`` items of all shards."""
        ...

    def narrowed(
        self, of: Identity, queries: Encoded, rows: Sequence[Rows], part: Narrowing
    ) -> list[Scores]:
        """The prefilter's or refiner's scores of each query's own items."""
        ...

    def matched(self, of: Identity, queries: Encoded, rows: Sequence[Rows], k: int) -> Matched:
        """The contenders for ``k`` hits by the matcher's scores of each query's own items."""
        ...

    def exhaustive(self, queries: Encoded, k: int, where: str | None) -> Matched:
        """The contenders for ``k`` hits by the matcher's scores of all items."""
        ...

    def stored(self, ids: Sequence[str]) -> Stored:
        """Items by their ids, each at most once.

        Raises:
            GalleryError: One is not there.
        """
        ...

    def lookup(self, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        """The user columns of those of some items that are there, by their ids."""
        ...

    def count(self, where: str | None) -> int:
        """Number of items that a filter keeps."""
        ...

    def warm(
        self,
        queries: Encoded,
        k: int,
        candidates: int | None,
        prefilter: int | None,
        refine: int | None,
    ) -> None:
        """Search once, for what a first search loads."""
        ...

    def refresh(self) -> ShardState:
        """Go over to the gallery's newest version, which is loaded beside the searches."""
        ...
