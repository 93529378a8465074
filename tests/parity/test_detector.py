"""Which regions count as found again."""

from __future__ import annotations

import numpy as np

from itr_deploy.parity.detector import found_again


def test_boxes_are_found_again_in_any_order_and_flat_ones_too() -> None:
    ours = np.array([[0, 0, 40, 30], [50, 10, 50, 60], [5, 5, 90, 90]], np.float32)
    theirs = np.array([[50, 10, 50, 60], [0, 0, 40, 30.5], [5, 5, 60, 90]], np.float32)
    places, again = found_again(ours, theirs)
    assert places.tolist() == [1, 0, 2]
    assert again.tolist() == [True, True, False]
