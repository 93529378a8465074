"""DIME's golden cases."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np

DATA = Path(__file__).resolve().parent.parent / "data" / "dime"


class DimeCase:
    """One direction's published checkpoint, inputs and outputs."""

    def __init__(self, direction: str) -> None:
        self.direction = direction
        self.folder = DATA / direction
        self.checkpoint = self.folder / "model_best.pth.tar"
        self.vocab = self.folder / "vocab.txt"
        self.bert_config = self.folder / "bert_config.json"

    @cached_property
    def inputs(self) -> dict[str, np.ndarray]:
        with np.load(self.folder / "inputs.npz") as stored:
            return dict(stored)

    @cached_property
    def expected(self) -> dict[str, np.ndarray]:
        with np.load(self.folder / "expected.npz") as stored:
            return dict(stored)

    @property
    def images(self) -> np.ndarray:
        return self.inputs["images"]

    @property
    def texts(self) -> tuple[np.ndarray, np.ndarray]:
        return self.inputs["input_ids"], self.inputs["lengths"]

    @property
    def captions(self) -> list[str]:
        return (self.folder / "captions.txt").read_text(encoding="utf-8").splitlines()

    @property
    def export_words(self) -> tuple[object, ...]:
        """The family and its files, as ``itr-deploy export`` takes them."""
        files = ("--checkpoint", self.checkpoint, "--vocab", self.vocab)
        return "dime", *files, "--bert-config", self.bert_config


I2T, T2I = DimeCase("i2t"), DimeCase("t2i")
DIRECTIONS = [I2T, T2I]
GATES = ("--gates", "yes")
"""Options of the bundles that most tests use."""
