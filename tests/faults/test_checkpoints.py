"""Checkpoints with random damage, and with anything in their options."""

from __future__ import annotations

import argparse
import random
import tempfile
import time
import warnings
from pathlib import Path

import pytest
import torch

from itr_deploy.models.imram.checkpoint import load
from tests.faults.damage import damage
from tests.faults.trials import report, run_trials, share
from tests.support.golden import FULL

VALUES = (None, True, 0, -1, 1 << 40, 0.5, float("nan"), "", "full_IMRAM", "x" * 5000, [], {}, (1,))


def trial(number: int, original: Path) -> str:
    warnings.simplefilter("ignore")
    rng = random.Random(number)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model_best.pth.tar"
        if number % 2:
            path.write_bytes(original.read_bytes())
            damage(path.parent, rng)
            if not path.exists():
                return "gone"
        else:
            torch.save(_changed(original, rng), path)
        trained = load(path)
        floats = [w for w in trained.plain.state_dict().values() if w.is_floating_point()]
        assert all(bool(torch.isfinite(weight).all()) for weight in floats)
        return "read"


def _changed(original: Path, rng: random.Random) -> object:
    whole = torch.load(original, map_location="cpu", weights_only=False)
    options, weights = vars(whole["opt"]), dict(whole["model"])
    name = rng.choice(sorted(weights))
    kind = rng.randrange(6)
    if kind == 0:
        options[rng.choice(sorted(options))] = rng.choice(VALUES)
    elif kind == 1:
        weights[name] = weights[name].reshape(-1)[: rng.randrange(4)]
    elif kind == 2:
        weights[name] = rng.choice(VALUES)
    elif kind == 3:
        weights[name + rng.choice(("_", ".x", "\0"))] = weights.pop(name)
    elif kind == 4:
        weights[name] = torch.full_like(weights[name], rng.choice((float("nan"), 3e38, 0.0)))
    else:
        del options[rng.choice(sorted(options))]
    return {**whole, "model": weights, "opt": argparse.Namespace(**options)}


@pytest.mark.slow
def test_a_damaged_checkpoint_is_refused_or_read() -> None:
    began = time.monotonic()
    ends, findings = run_trials(trial, range(share(600)), setup=FULL.checkpoint)
    report("checkpoints", ends, began)
    assert not findings, "\n".join(map(str, findings[:20]))
