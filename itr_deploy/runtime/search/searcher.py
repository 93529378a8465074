"""What searches a gallery, whether it lies in memory or on disk.

A search narrows in stages: the coarse embedding's best, of those the prefilter's best where it is
asked for, and the matcher ranks what is left.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from itr_deploy.runtime.encoding.encoded import Encoded
from itr_deploy.runtime.gallery import Gallery
from itr_deploy.runtime.gallery.read import Vectors
from itr_deploy.runtime.hits import Hits


class Searcher(Protocol):
    """Answers encoded queries from one version of a gallery."""

    gallery: Gallery

    @property
    def vectors(self) -> Vectors:
        """Every item's id and coarse embedding."""
        ...

    def encoded(self, rows: NDArray[np.int64]) -> Encoded:
        """Items by their place in `vectors`, each at most once."""
        ...

    def search(
        self,
        queries: Encoded,
        k: int,
        candidates: int | None,
        where: str | None,
        prefilter: int | None = None,
    ) -> list[Hits]:
        """The ``k`` best items of every query.

        Args:
            queries: Encoded, of the other modality than the gallery's.
            k: Hits a query.
            candidates: Items that the matcher scores, None for every item.
            where: SQL over the gallery's columns, or None.
            prefilter: Width of the coarse shortlist that the prefilter cuts down to
                ``candidates``, None for no prefilter.
        """
        ...
