"""SGRAF's golden cases: results of the published program with small random weights.

Both modules have the same inputs and vocabulary. SAF's checkpoint is as Python 2.7 writes it on a
GPU, SGR's as Python 3 does, both in PyTorch's old format.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from tests.support.golden import DATA


class SgrafCase:
    """One module's published checkpoint, inputs and outputs."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.folder = DATA / "sgraf" / name
        self.checkpoint = self.folder / "model_best.pth.tar"

    @cached_property
    def inputs(self) -> dict[str, np.ndarray]:
        with np.load(self.folder / "inputs.npz") as stored:
            return dict(stored)

    @cached_property
    def expected(self) -> dict[str, np.ndarray]:
        with np.load(self.folder / "expected.npz") as stored:
            return dict(stored)

    @property
    def texts(self) -> tuple[np.ndarray, np.ndarray]:
        return self.inputs["captions"], self.inputs["lengths"]

    @property
    def captions(self) -> list[str]:
        return (self.folder / "captions.txt").read_text(encoding="utf-8").splitlines()

    @property
    def export_words(self) -> tuple[object, ...]:
        """The family and its files, as ``itr-deploy export`` takes them."""
        vocabulary = self.folder / "vocab.json"
        return "sgraf", "--checkpoint", self.checkpoint, "--vocab", vocabulary


SAF, SGR = SgrafCase("saf"), SgrafCase("sgr")
MODULES = [SAF, SGR]
