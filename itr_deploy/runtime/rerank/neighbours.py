"""Similarity within a modality as the user gives it: the nearest neighbours of every item."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itr_deploy.bundle.names import first_repeated
from itr_deploy.errors import InputError
from itr_deploy.runtime.rerank.edges import ABSENT

Rows = NDArray[np.int64]

QueryNeighbours = Sequence[tuple[Sequence[str], Sequence[float]]]
"""For every query, the ids of its nearest bank items, nearest first, and their similarities."""


@dataclass(frozen=True, eq=False)
class NeighbourLists:
    """The nearest items of every item of one modality, with similarities of your own.

    Attributes:
        ids: ``[N]``.
        neighbours: ``int64 [N, P]``, places in ``ids``, the item itself first and then the nearest
            first; shorter lists are padded with -1.
        similarities: ``float32 [N, P]``.
    """

    ids: tuple[str, ...]
    neighbours: Rows
    similarities: NDArray[np.float32]

    def __post_init__(self) -> None:
        count = len(self.ids)
        shape = self.neighbours.shape
        if len(shape) != 2 or shape != self.similarities.shape or shape[0] != count:
            raise InputError(
                f"neighbour lists of {count} ids have shapes {list(shape)} and "
                f"{list(self.similarities.shape)}; expected [{count}, P] twice"
            )
        double = first_repeated(self.ids)
        if double is not None:
            raise InputError(f"neighbour lists name id {double!r} twice; ids must be unique")
        if not np.issubdtype(self.neighbours.dtype, np.integer):
            raise InputError(f"neighbours are {self.neighbours.dtype}; expected integers")
        if count and not (ABSENT <= self.neighbours.min() <= self.neighbours.max() < count):
            raise InputError(f"neighbours are not all places from 0 to {count - 1}, or -1")
        if shape[1] < 1 or (self.neighbours[:, 0] != np.arange(count)).any():
            raise InputError("every neighbour list must begin with the item itself")
        ordered = np.sort(self.neighbours, axis=1)
        if ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] != ABSENT)).any():
            raise InputError("a neighbour list names an item twice")
        if not np.isfinite(self.similarities).all():
            raise InputError("the similarities of neighbour lists hold NaN or infinity")

    @classmethod
    def read(cls, path: str | Path) -> NeighbourLists:
        """Read an ``.npz`` file with ``ids``, ``neighbours`` and ``similarities``.

        Raises:
            InputError: The file is missing or damaged, or its arrays are not valid lists.
        """
        try:
            with np.load(path, allow_pickle=False) as stored:
                arrays: dict[str, Any] = {
                    name: stored[name] for name in ("ids", "neighbours", "similarities")
                }
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise InputError(
                f"{path}: cannot be read as neighbour lists: {error}; it must be an .npz file "
                "with ids, neighbours and similarities"
            ) from error
        return cls(
            tuple(map(str, arrays["ids"].tolist())),
            arrays["neighbours"],
            arrays["similarities"].astype(np.float32),
        )


class ListedSimilarity:
    """Similarities from `NeighbourLists`, by the rows of a gallery."""

    def __init__(self, lists: NeighbourLists, ids: NDArray[np.str_]) -> None:
        """Put the lists in the order of a gallery's ids; items not in the gallery are left out.

        Raises:
            InputError: An item of the gallery has no list.
        """
        place = {name: number for number, name in enumerate(lists.ids)}
        missing = [name for name in ids.tolist() if name not in place]
        if missing:
            raise InputError(
                f"no neighbour list for id {missing[0]!r} ({len(missing)} of {len(ids)} are "
                "missing)"
            )
        rows_of = np.full(len(lists.ids) + 1, ABSENT)  # the last stands for -1
        own = np.array([place[name] for name in ids.tolist()], np.int64)
        rows_of[own] = np.arange(len(own))
        rows = rows_of[lists.neighbours[own]]
        order = np.argsort(rows == ABSENT, axis=1, kind="stable")
        self._rows = np.take_along_axis(rows, order, axis=1)
        self._similarities = np.take_along_axis(lists.similarities[own], order, axis=1)
        lengths = (self._rows != ABSENT).sum(axis=1)
        self._least = self._similarities[np.arange(len(own)), lengths - 1]

    def lists(self, rows: Rows, count: int) -> Rows:
        """The nearest items of each, itself first: ``[n] -> [n, count]``, padded with -1."""
        missing = max(0, count - self._rows.shape[1])
        found = np.pad(self._rows[rows], ((0, 0), (0, missing)), constant_values=ABSENT)
        return found[:, :count]

    def similarities(self, row: int, count: int) -> NDArray[np.float32]:
        """Similarities of an item to the first ``count`` of its list."""
        return self._similarities[row, :count]

    def between(self, rows: Rows, others: Rows) -> NDArray[np.float32]:
        """Similarities of every two items: ``[Q, a], [Q, b] -> [Q, a, b]``.

        If neither item is in the other's list, they are at most as similar as the last entry of
        each list: the lower of the two is used.
        """
        one = self._found(rows, others)
        two = self._found(others, rows).transpose(0, 2, 1)
        bound = np.minimum(self._least[rows][:, :, None], self._least[others][:, None, :])
        best = np.fmax(one, two)
        return np.where(np.isnan(best), bound, best).astype(np.float32)

    def _found(self, rows: Rows, others: Rows) -> NDArray[np.float32]:
        """Similarities of ``others [Q, b]`` in the lists of ``rows [Q, a]``, NaN where absent."""
        found = np.full((*rows.shape, others.shape[1]), np.nan, np.float32)
        lists, values = self._rows[rows], self._similarities[rows]
        for place in range(lists.shape[2]):
            hit = lists[:, :, place, None] == others[:, None, :]
            found[hit] = np.broadcast_to(values[:, :, place, None], hit.shape)[hit]
        return found
