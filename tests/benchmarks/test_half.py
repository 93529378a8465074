"""What a run of the half-precision benchmark takes up of one before."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.half import drawn


def test_a_split_is_drawn_once_and_is_of_one_size(tmp_path: Path) -> None:
    data = drawn(tmp_path, 3)
    before = (data / "test_ims.npy").stat().st_mtime_ns
    assert drawn(tmp_path, 3) == data
    assert (data / "test_ims.npy").stat().st_mtime_ns == before
    with pytest.raises(SystemExit, match="--images 3; give another"):
        drawn(tmp_path, 4)
    assert list(tmp_path.iterdir()) == [data]
