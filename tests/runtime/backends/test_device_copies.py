from __future__ import annotations

import gc

import numpy as np

from itr_deploy.runtime.backends.device_copies import DeviceCopies


class Device:
    """Numbers its copies and knows which are there."""

    def __init__(self) -> None:
        self.copies: dict[int, np.ndarray] = {}
        self.made = 0
        self.pinned = DeviceCopies(self.copy, self.copies.pop)

    def copy(self, array: np.ndarray) -> int:
        self.made += 1
        self.copies[self.made] = array.copy()
        return self.made


def test_a_copy_is_made_once_and_lives_as_long_as_its_array() -> None:
    device, array = Device(), np.ones((4, 3), np.float16)
    device.pinned.pin([array, array])
    device.pinned.pin([array])
    assert device.made == 1
    del array
    gc.collect()
    assert device.copies == {}


def test_a_whole_view_is_the_array_and_a_part_is_not() -> None:
    device, array = Device(), np.ones((4, 3), np.float16)
    device.pinned.pin([array])
    found = device.pinned.copy_of(array[:])
    assert found is not None
    assert found.original is array
    assert device.pinned.copy_of(array[:2]) is None
    assert device.pinned.copy_of(array.reshape(3, 4)) is None
    assert device.pinned.copy_of(array.T) is None
    assert device.pinned.copy_of(array.view(np.int16)) is None


def test_who_uses_a_copy_keeps_it_alive() -> None:
    device, array = Device(), np.ones(3)
    device.pinned.pin([array])
    found = device.pinned.copy_of(array)
    del array
    gc.collect()
    assert len(device.copies) == 1
    del found
    gc.collect()
    assert device.copies == {}


def test_arrays_without_values_or_in_pieces_are_passed_over() -> None:
    device = Device()
    device.pinned.pin([np.empty((0, 3)), np.ones((4, 4))[:, ::2]])
    assert device.copies == {}


def test_clearing_frees_everything() -> None:
    device, arrays = Device(), [np.ones(3), np.ones(5)]
    device.pinned.pin(arrays)
    device.pinned.clear()
    assert device.copies == {}
    assert device.pinned.copy_of(arrays[0]) is None
