"""LHSC's golden case, and its bundles made by the public command."""

from __future__ import annotations

from pathlib import Path

from tests.support.command import Outcome, itr_deploy
from tests.support.golden import DATA
from tests.support.threads import one_torch_thread

GOLDEN = DATA / "lhsc" / "default"
CHECKPOINT = GOLDEN / "model_best.pth.tar"


def export(padding: str, output: Path) -> Outcome:
    """``itr-deploy export lhsc`` with a text padding; `Bundles.once` keeps it as `shared_name`."""
    files = ("--checkpoint", CHECKPOINT, "--vocab", GOLDEN / "vocab.json", "--output", output)
    with one_torch_thread():
        return itr_deploy("export", "lhsc", *files, "--text-padding", padding, "--json")


def shared_name(padding: str) -> str:
    """Of the bundle with a text padding."""
    return f"lhsc-{padding}"
