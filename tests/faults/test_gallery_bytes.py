"""Galleries with random damage to their bytes, searched in memory and on disk."""

from __future__ import annotations

import random
import shutil
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import pytest

from itr_deploy import Gallery, Matcher, Retriever
from tests.faults.damage import damage
from tests.faults.trials import report, run_trials, share
from tests.support import items

QUERIES = ["a dog on a mat", "two cats"]


def found(bundle: Path, gallery: Path, resident: bool) -> list[Any]:
    retriever = Retriever.load(bundle, gallery, threads=1, resident=resident)
    hits = retriever.search(QUERIES, k=5, candidates=None)
    return [[(hit.id, hit.score, hit.metadata) for hit in one] for one in hits]


def trial(number: int, setup: tuple[Path, Path, list[Any]]) -> str:
    warnings.simplefilter("ignore")
    bundle, original, expected = setup
    rng, resident = random.Random(number), number % 2 == 0
    with tempfile.TemporaryDirectory() as folder:
        gallery = Path(folder) / "gallery"
        shutil.copytree(original, gallery)
        damage(gallery, rng)
        same = found(bundle, gallery, resident) == expected
        if same:
            return "same hits"
        if not resident:
            # A search on disk reads a part only: what it misses must be found when asked for.
            Gallery.open(gallery).verify()
        return "WRONG: other hits and no error"


@pytest.mark.slow
def test_a_damaged_gallery_is_refused_or_harmless(bundle: Path, tmp_path: Path) -> None:
    began = time.monotonic()
    matcher = Matcher.load(bundle, threads=1)
    made = Gallery.create(tmp_path / "gallery", matcher)
    for part in range(3):
        names = [f"{part}-{n}" for n in range(20)]
        made.add(names, items.images(20, seed=part), metadata={"price": list(range(20))})
    made.delete(["0-3"])
    expected = found(bundle, tmp_path / "gallery", True)
    setup = (bundle, tmp_path / "gallery", expected)
    ends, findings = run_trials(trial, range(share(400)), setup=setup)
    report("gallery bytes", ends, began)
    assert not findings, "\n".join(map(str, findings[:20]))
