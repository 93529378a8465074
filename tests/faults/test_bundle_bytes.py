"""Bundles with random damage to their bytes."""

from __future__ import annotations

import random
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

from itr_deploy import Matcher
from tests.faults.damage import damage
from tests.faults.trials import report, run_trials, share
from tests.support.golden import FULL

TEXTS, IMAGES = ["a dog on a mat", "two"], FULL.regions[:3]


def trial(number: int, setup: tuple[Path, np.ndarray]) -> str:
    original, expected = setup
    rng = random.Random(number)
    with tempfile.TemporaryDirectory() as folder:
        bundle = Path(folder) / "bundle"
        shutil.copytree(original, bundle)
        damage(bundle, rng)
        scores = Matcher.load(bundle, threads=1).score(texts=TEXTS, images=IMAGES)
        same = np.array_equal(scores, expected)
        return "same scores" if same else f"WRONG: scores {scores}, expected {expected}"


@pytest.mark.slow
def test_a_damaged_bundle_is_refused_or_harmless(bundle: Path) -> None:
    began = time.monotonic()
    expected = Matcher.load(bundle, threads=1).score(texts=TEXTS, images=IMAGES)
    ends, findings = run_trials(trial, range(share(600)), setup=(bundle, expected))
    report("bundle bytes", ends, began)
    assert not findings, "\n".join(map(str, findings[:20]))
