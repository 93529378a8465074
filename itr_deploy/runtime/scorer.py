"""What scores encoded pairs: a bundle's graphs, or a product of the embeddings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from itr_deploy.bundle.manifest import StorageType
from itr_deploy.bundle.modality import Modality
from itr_deploy.runtime.encoding.encoded import Encoded

Outputs = Mapping[str, NDArray[np.float32]]
Observer = Callable[[Outputs], None]


class Scorer(Protocol):
    """Scores encoded queries with encoded gallery items. Safe to use from several threads."""

    def score_all(
        self,
        queries: Encoded,
        gallery: Encoded,
        rows: NDArray[np.int64] | None = None,
        observe: Observer | None = None,
    ) -> NDArray[np.float32]:
        """Score every query with every item, or with those at ``rows``: ``float32 [Q, N]``.

        For each tile of pairs, ``observe`` is called with all outputs of the matcher graph by
        name, ``[queries, items, ...]``.
        """
        ...

    def score_with(
        self, queries: Encoded, gallery: Encoded, output: str
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Score as `score_all` does, and also return another output of the matcher graph.

        Args:
            queries: Q encoded queries.
            gallery: N encoded items of the other modality.
            output: Name of the other output.

        Returns:
            Scores ``float32 [Q, N]`` and the output's values ``float32 [Q, N, ...]``.

        Raises:
            KeyError: There is no such output.
        """
        ...

    def score_candidates(
        self, queries: Encoded, gallery: Encoded, candidates: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """Score each query with its own items.

        Args:
            queries: Q encoded queries.
            gallery: Encoded items of the other modality.
            candidates: ``int64 [Q, K]``, row numbers in the gallery.

        Returns:
            ``float32 [Q, K]``.
        """
        ...

    def resident(self, gallery: Encoded) -> Encoded:
        """A gallery that stays in memory, in the form that is scored fastest.

        Raises:
            EngineError: The matcher's engine is missing or does not fit.
            SetupError: The GPU has too little memory.
        """
        ...

    def in_bytes(self, gallery: Modality) -> frozenset[str]:
        """Names of the gallery items' tensors that it can read as bytes, if any.

        See `itr_deploy.runtime.gallery.in_bytes`.
        """
        ...

    def reads(self, gallery: Modality, storage: StorageType) -> frozenset[str]:
        """Names of the gallery items' stored tensors that scoring reads."""
        ...
