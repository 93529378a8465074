"""LHSC's golden case: results of the published program with small random weights."""

from __future__ import annotations

import numpy as np

from tests.support.golden import DATA

FOLDER = DATA / "lhsc" / "default"
CHECKPOINT = FOLDER / "model_best.pth.tar"


class LhscCase:
    """The published checkpoint, inputs and outputs."""

    folder = FOLDER
    checkpoint = CHECKPOINT

    @property
    def export_words(self) -> tuple[object, ...]:
        """The family and its files, as ``itr-deploy export`` takes them."""
        return "lhsc", "--checkpoint", CHECKPOINT, "--vocab", FOLDER / "vocab.json"

    @property
    def captions(self) -> list[str]:
        return (FOLDER / "captions.txt").read_text(encoding="utf-8").splitlines()


LHSC = LhscCase()
PADDINGS = ("true-length", "published")


def arrays(name: str) -> dict[str, np.ndarray]:
    """The arrays of the file ``inputs`` or ``expected``."""
    with np.load(FOLDER / f"{name}.npz") as stored:
        return dict(stored)
