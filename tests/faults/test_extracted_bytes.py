"""Extractors' HDF5 with random damage to its bytes: one line, or values as they are there."""

from __future__ import annotations

import logging
import random
import tempfile
import time
from pathlib import Path

import pytest

from itr_deploy.evaluation.data.sources.choosing import choose
from tests.faults.trials import report, run_trials, share
from tests.support import extractors

LAYOUTS = (
    extractors.hdf5_of_vqa,
    extractors.hdf5_of_groups,
    extractors.hdf5_of_captioning,
    extractors.hdf5_of_any_length,
)
START = 2048
"""Bytes at the beginning that say what is where, and are damaged as often as all others."""


def trial(number: int) -> str:
    logging.disable(logging.WARNING)
    rng = random.Random(number)
    with tempfile.TemporaryDirectory() as folder:
        items = extractors.extracted([3, 2, 4])
        path = LAYOUTS[number % len(LAYOUTS)](Path(folder) / "data.hdf5", items)
        content = bytearray(path.read_bytes())
        for _ in range(rng.randint(1, 3)):
            place = rng.randrange(len(content) if rng.random() < 0.5 else START)
            kind = rng.choice(("flip", "flip", "flip", "cut", "noise"))
            if kind == "flip":
                content[place] ^= 1 << rng.randrange(8)
            elif kind == "cut":
                content = content[: max(place, START)]
            else:
                content[place : place + 8] = rng.randbytes(8)
        path.write_bytes(content)
        chosen = choose(path, None, lambda step, done, total: None)
        for image in range(len(chosen.entries)):
            chosen.read(image)
        return "read"


@pytest.mark.slow
def test_damaged_hdf5_is_refused_or_read(tmp_path: Path) -> None:
    began = time.monotonic()
    ends, findings = run_trials(trial, range(share(1000)))
    report("extractors' bytes", ends, began)
    assert not findings, "\n".join(map(str, findings[:20]))
