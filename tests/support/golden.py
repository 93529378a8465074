"""Golden cases: results of the published program with small random weights."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

DATA = Path(__file__).resolve().parent.parent / "data"


@dataclass(frozen=True)
class Case:
    name: str

    @property
    def folder(self) -> Path:
        return DATA / "imram" / self.name

    @property
    def checkpoint(self) -> Path:
        return self.folder / "model_best.pth.tar"

    @property
    def vocab(self) -> Path:
        return self.folder / "vocab.json"

    @property
    def export_words(self) -> tuple[object, ...]:
        """The family and its files, as ``itr-deploy export`` takes them."""
        return "imram", "--checkpoint", self.checkpoint, "--vocab", self.vocab

    @cached_property
    def options(self) -> dict:
        return json.loads((self.folder / "case.json").read_bytes())

    @cached_property
    def captions(self) -> list[str]:
        return (self.folder / "captions.txt").read_text(encoding="utf-8").splitlines()

    @cached_property
    def _inputs(self) -> dict:
        with np.load(self.folder / "inputs.npz") as stored:
            return dict(stored)

    @cached_property
    def expected(self) -> dict:
        with np.load(self.folder / "expected.npz") as stored:
            return dict(stored)

    @property
    def regions(self) -> np.ndarray:
        return self._inputs["images"]

    @property
    def token_ids(self) -> np.ndarray:
        return self._inputs["captions"]

    @property
    def lengths(self) -> np.ndarray:
        return self._inputs["lengths"]

    @property
    def scores(self) -> np.ndarray:
        return self.expected["scores"]

    @property
    def branches(self) -> int:
        return 2 if self.options["model_mode"] == "full_IMRAM" else 1


FULL = Case("full_3step")
IMAGE = Case("image_3step_weightnorm")
TEXT = Case("text_2step_softmax_normed")
CASES = (FULL, IMAGE, TEXT)
