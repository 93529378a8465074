"""The protocol for searching a gallery, in memory or on disk.

A search narrows in stages: the coarse embedding makes a shortlist, the prefilter cuts it down if
asked for, the refiner cuts down what the prefilter leaves, and the matcher ranks what is left.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from itr_deploy.runtime.encoding.encoded import Encoded
from itr_deploy.runtime.gallery import Gallery
from itr_deploy.runtime.gallery.read import Vectors
from itr_deploy.runtime.hits import Hits


class Searched(NamedTuple):
    """What searches find: a gallery's version, and how many items it has."""

    version: int
    items: int


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
