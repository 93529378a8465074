"""The protocol for searching a gallery, in memory or on disk.

A search narrows in stages: the coarse embedding makes a shortlist, the prefilter cuts it down if
asked for, the refiner cuts down what the prefilter leaves, and the matcher ranks what is left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from itr_deploy.runtime.encoding.encoded import Encoded
from itr_deploy.runtime.gallery import Gallery
from itr_deploy.runtime.gallery.read import Vectors
from itr_deploy.runtime.hits import Hits
from itr_deploy.runtime.search.narrowing import Narrowing


class Searched(NamedTuple):
    """What searches find: a gallery's version, and how many items it has."""

    version: int
    items: int


@dataclass(frozen=True, eq=False)
class Contenders:
    """Items that may be among the best for a query, with scores as they were computed.

    Attributes:
        rows: ``int64 [n]``, row ids, which are those of the version everywhere.
        ids: ``[n]``.
        scores: ``float32 [n]``.
    """

    rows: NDArray[np.int64]
    ids: NDArray[np.str_]
    scores: NDArray[np.float32]


class Searcher(Protocol):
    """Answers encoded queries from one version of a gallery."""

    gallery: Gallery
    searched: Searched

    @property
    def vectors(self) -> Vectors:
        """Every item's id and coarse embedding."""
        ...

    def encoded(self, rows: NDArray[np.int64]) -> Encoded:
        """Items by their places in `vectors`, each at most once."""
        ...

    def search(
        self,
        queries: Encoded,
        k: int,
        candidates: int | None,
        where: str | None,
        prefilter: int | None = None,
        refine: int | None = None,
    ) -> list[Hits]:
        """The ``k`` best items of every query.

        Args:
            queries: Encoded queries; of the gallery's own modality for a dual encoder alone.
            k: Hits per query.
            candidates: Items that the matcher scores per query, None for every item.
            where: SQL over the gallery's columns, or None.
            prefilter: Width of the coarse shortlist that the prefilter cuts down, None for no
                prefilter.
            refine: Width of the shortlist that the refiner cuts down to ``candidates``, None for no
                refiner.
        """
        ...


class StagedSearcher(Searcher, Protocol):
    """Answers one stage of a search at a time: the next one depends on other galleries' answers.

    What is best of several galleries together is chosen of their contenders, see
    `ranking.contenders`.
    """

    def nearest(
        self, queries: Encoded, width: int, where: str | None
    ) -> tuple[int, list[Contenders]]:
        """The coarse stage: number of items that the filter keeps, and each query's contenders.

        Args:
            queries: Encoded queries.
            width: Items that are chosen of all galleries.
            where: SQL over the gallery's columns, or None.
        """
        ...

    def narrowed(
        self, queries: Encoded, rows: Sequence[NDArray[np.int64]], part: Narrowing
    ) -> list[NDArray[np.float32]]:
        """The prefilter's or refiner's scores of each query's own items, by their row ids."""
        ...

    def matched(
        self, queries: Encoded, rows: Sequence[NDArray[np.int64]]
    ) -> list[NDArray[np.float32]]:
        """The matcher's scores of each query's own items, given by their row ids."""
        ...

    def exhaustive(self, queries: Encoded, k: int, where: str | None) -> list[Contenders]:
        """Each query's contenders for ``k`` hits, by the matcher's scores of all items."""
        ...

    def described(
        self, rows: NDArray[np.int64]
    ) -> tuple[NDArray[np.str_], tuple[dict[str, Any], ...]]:
        """Ids and user columns of items, given by their row ids."""
        ...
