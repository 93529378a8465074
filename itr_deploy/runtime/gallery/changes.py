"""What a later version of a gallery has besides an earlier one, and what it has no longer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from itr_deploy.runtime.gallery.fragments import ROW_BITS, Fragments
from itr_deploy.runtime.gallery.gallery import Gallery
from itr_deploy.runtime.gallery.read import read_row_ids

Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Change:
    """From one version to a later one.

    Attributes:
        fragments: The later version's.
        gone: Places of the items that it has no longer.
        new: Row ids of those that it has besides, in the table's order.
    """

    fragments: Fragments
    gone: Rows
    new: Rows


def change(
    rows: Rows, places: Rows, before: Fragments, after: Fragments, gallery: Gallery
) -> Change | None:
    """What changed, None if the later version must be read as a whole.

    That is where a fragment has other files, which LanceDB makes of columns that are added or
    changed in place, and where the new items are not the table's last, as after some compactions:
    items are held in the table's order.

    Args:
        rows: Row ids of the held items, also of those that are gone.
        places: Places of those that are there.
        before: The fragments of the version that is held.
        after: Those of the later version.
        gallery: The later version.
    """
    common = before.of.keys() & after.of.keys()
    if any(before.of[number].files != after.of[number].files for number in common):
        return None
    own = rows[places]
    added = [after.of[number] for number in after.of if number not in common]
    if all(before.of[number].deleted == after.of[number].deleted for number in common) and not any(
        fragment.deleted for fragment in added
    ):
        kept = np.isin(own >> ROW_BITS, np.array(sorted(common), np.int64))
        new = [(part.number << ROW_BITS) + np.arange(part.rows, dtype=np.int64) for part in added]
        order = list(dict.fromkeys([*(n for n in before.of if n in common), *after.of]))
        if order != list(after.of):
            return None
        return Change(after, places[~kept], np.concatenate([np.empty(0, np.int64), *new]))
    now = read_row_ids(gallery)
    kept = np.isin(own, now)
    new_rows = now[kept.sum() :]
    if not np.array_equal(own[kept], now[: kept.sum()]):
        return None
    return Change(after, places[~kept], new_rows)
