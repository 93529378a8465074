"""DIME's golden cases, and their bundles made by the public command."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np

from tests.support.command import Outcome, itr_deploy
from tests.support.threads import one_torch_thread

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

    def export(self, output: Path, *options: object) -> Outcome:
        """``itr-deploy export dime`` of this case; later options win."""
        files = ("--checkpoint", self.checkpoint, "--vocab", self.vocab)
        config = ("--bert-config", self.bert_config)
        with one_torch_thread():
            return itr_deploy("export", "dime", *files, *config, "--output", output, *options)

    def export_with_gates(self, output: Path) -> Outcome:
        """What most tests look at; `Bundles.once` keeps it as `shared_name`."""
        return self.export(output, "--gates", "yes", "--json")

    @property
    def shared_name(self) -> str:
        """Of the bundle with gates."""
        return f"dime-{self.direction}-gates"


I2T, T2I = DimeCase("i2t"), DimeCase("t2i")
DIRECTIONS = [I2T, T2I]
