"""Results of a search: small typed objects over arrays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Hit:
    """One result: ``rank`` counts from 1; ``metadata`` holds the gallery's user columns."""

    id: str
    score: float
    rank: int
    metadata: Mapping[str, Any]


@dataclass(frozen=True)
class Hits(Sequence[Hit]):
    """The results of one query, best first.

    Attributes:
        ids: Ids of the items.
        scores: ``float32 [k]``.
        metadata: The user columns of every item.
    """

    ids: tuple[str, ...]
    scores: NDArray[np.float32]
    metadata: tuple[Mapping[str, Any], ...]

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
        score = float(self.scores[place])
        return Hit(self.ids[place], score, place + 1, self.metadata[place])

    def __iter__(self) -> Iterator[Hit]:
        return (self[place] for place in range(len(self)))
