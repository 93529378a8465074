"""What a later version of a gallery has besides an earlier one, and what it has no longer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from itr_deploy.runtime.gallery.fragments import ROW_BITS, Fragments
from itr_deploy.runtime.gallery.gallery import Gallery
from itr_deploy.runtime.gallery.moves import Move, moved
from itr_deploy.runtime.gallery.read import read_row_ids

Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Change:
    """From one version to a later one.

    Attributes:
        fragments: The later version's.
        gone: Places of the items that it has no longer.
        new: Row ids of those that it has besides, in the table's order.
        rows: Row ids that the held items have in the later version.
        carried: Names of files with items that were moved, of which nothing is to be read.
    """

    fragments: Fragments
    gone: Rows
    new: Rows
    rows: Rows
    carried: frozenset[str] = frozenset()


def change(
    rows: Rows,
    places: Rows,
    before: Fragments,
    after: Fragments,
    gallery: Gallery,
    moves: Sequence[Move] = (),
) -> Change | None:
    """What changed, None if the later version must be read as a whole.

    That is where a fragment has other files, which LanceDB makes of columns that are added or
    changed in place, and where the new items are not the table's last: items are held in the
    table's order.

    Args:
        rows: Row ids of the held items, also of those that are gone.
        places: Places of those that are there.
        before: The fragments of the version that is held.
        after: Those of the later version.
        gallery: The later version.
        moves: What was moved from one to the other.
    """
    held = before
    rows, before = moved(rows, before, moves)
    common = before.of.keys() & after.of.keys()
    if any(before.of[number].files != after.of[number].files for number in common):
        return None
    own = rows[places]
    added = [after.of[number] for number in after.of if number not in common]
    moved_to = before.of.keys() - held.of.keys()
    if (
        not moved_to
        and all(before.of[number].deleted == after.of[number].deleted for number in common)
        and not any(fragment.deleted for fragment in added)
    ):
        kept = np.isin(own >> ROW_BITS, np.array(sorted(common), np.int64))
        new = [part.places for part in added]
        order = list(dict.fromkeys([*(n for n in before.of if n in common), *after.of]))
        if order != list(after.of):
            return None
        return Change(after, places[~kept], np.concatenate([np.empty(0, np.int64), *new]), rows)
    now = read_row_ids(gallery)
    kept = np.isin(own, now)
    new_rows = now[kept.sum() :]
    if not np.array_equal(own[kept], now[: kept.sum()]):
        return None
    read = set((new_rows >> ROW_BITS).tolist())
    carried = {name for n in (moved_to & common) - read for name in after.of[n].names}
    return Change(after, places[~kept], new_rows, rows, frozenset(carried))
