"""A shapes world of a few pictures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from examples.shapes import make_data


@pytest.fixture(autouse=True)
def torch_settings() -> Iterator[None]:
    """One thread, which is faster for arrays this small; what a test sets is undone after it."""
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    torch.set_rng_state(state)
    torch.use_deterministic_algorithms(False)


@pytest.fixture(scope="module")
def small_world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shapes")
    for split, size in (("train", 12), ("dev", 4), ("test", 6)):
        make_data.make_split(split, folder, with_pictures=split == "test", size=size)
    return folder
