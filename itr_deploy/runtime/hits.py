"""Results of a search: small typed objects over arrays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Hit:
    """One result.

    Attributes:
        id: The item's id.
        score: The matcher's score, whether or not the hits were re-ranked.
        rank: Position in the results, from 1.
        metadata: The item's values in the gallery's user columns.
        rerank_score: The re-ranker's score, a cosine; None for hits it did not score.
        matcher_rank: The rank by the matcher's score alone.
    """

    id: str
    score: float
    rank: int
    metadata: Mapping[str, Any] = field(hash=False)
    rerank_score: float | None = None
    matcher_rank: int = 0

    def __post_init__(self) -> None:
        if self.matcher_rank == 0:
            object.__setattr__(self, "matcher_rank", self.rank)


@dataclass(frozen=True)
class Answered:
    """How many shards of a gallery answered a search.

    Attributes:
        total: Number of shards.
        answered: Number of those that answered.
        failed: Names of those that did not.
    """

    total: int
    answered: int
    failed: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Hits(Sequence[Hit]):
    """The results of one query, best first.

    Two are equal if what they found is, scores to the last bit, and if both or neither of them is
    partial. The hash covers the ids only.

    Attributes:
        ids: Ids of the items.
        scores: ``float32 [k]``, the matcher's scores.
        metadata: The user columns of every item.
        rerank_scores: ``float32 [k]``, the re-ranker's scores, NaN for hits it did not score; None
            if the hits were not re-ranked.
        matcher_ranks: ``int64 [k]``, the ranks before re-ranking, from 1; None if the hits were
            not re-ranked.
        shards: Which shards answered; None if the gallery has none.

    Examples:
        >>> hits = Hits(("a", "b"), np.array([0.75, 0.5], np.float32), ({}, {}))
        >>> len(hits), hits[0].id, hits[1].score
        (2, 'a', 0.5)
    """

    ids: tuple[str, ...]
    scores: NDArray[np.float32]
    metadata: tuple[Mapping[str, Any], ...]
    rerank_scores: NDArray[np.float32] | None = None
    matcher_ranks: NDArray[np.int64] | None = None
    shards: Answered | None = None

    @property
    def partial(self) -> bool:
        """Whether a shard did not answer: items that it has are not among these."""
        return self.shards is not None and bool(self.shards.failed)

    def __eq__(self, other: object) -> bool:
        """Whether all fields are equal; missing (NaN) rerank scores count as equal."""
        if not isinstance(other, Hits):
            return NotImplemented
        return (
            self.ids == other.ids
            and _same(self.scores, other.scores)
            and self.metadata == other.metadata
            and _same(self.rerank_scores, other.rerank_scores)
            and _same(self.matcher_ranks, other.matcher_ranks)
            and self.partial == other.partial
        )

    def __hash__(self) -> int:
        return hash(self.ids)

    def __len__(self) -> int:
        return len(self.ids)

    @overload
    def __getitem__(self, index: int) -> Hit: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Hit]: ...

    def __getitem__(self, index: int | slice) -> Hit | Sequence[Hit]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        place = range(len(self))[index]
        hit = (self.ids[place], float(self.scores[place]), place + 1, self.metadata[place])
        if self.rerank_scores is None or self.matcher_ranks is None:
            return Hit(*hit)
        again = float(self.rerank_scores[place])
        return Hit(*hit, None if np.isnan(again) else again, int(self.matcher_ranks[place]))

    def __iter__(self) -> Iterator[Hit]:
        return (self[place] for place in range(len(self)))


def _same(one: NDArray[Any] | None, other: NDArray[Any] | None) -> bool:
    """Whether two arrays are equal, NaN equal to NaN, or both are None."""
    if one is None or other is None:
        return one is other
    return bool(np.array_equal(one, other, equal_nan=True))
