"""A golden case: a published checkpoint with small random weights, its inputs and its results."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from itr_deploy.errors import CheckpointError
from tests.support.golden import DATA

if TYPE_CHECKING:
    import torch


class GoldenCase:
    """The files of one case, by its path below ``tests/data``."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.folder = DATA / name
        self.checkpoint = next(self.folder.glob("*.pth*"))

    def __repr__(self) -> str:
        return self.folder.name

    @cached_property
    def inputs(self) -> Mapping[str, torch.Tensor]:
        return self._arrays("inputs")

    @cached_property
    def expected(self) -> Mapping[str, torch.Tensor]:
        return self._arrays("expected")

    @property
    def captions(self) -> list[str]:
        return (self.folder / "captions.txt").read_text(encoding="utf-8").splitlines()

    @property
    def bert_config(self) -> str:
        return (self.folder / "bert_config.json").read_text(encoding="utf-8")

    def content(self) -> dict[str, Any]:
        """The checkpoint as `torch.load` gives it, to be changed."""
        import torch

        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(self.checkpoint, map_location="cpu", weights_only=True)

    def _arrays(self, name: str) -> dict[str, torch.Tensor]:
        import torch

        # Tensors of the inference mode in which they were first read could not be used elsewhere.
        with np.load(self.folder / f"{name}.npz") as stored, torch.inference_mode(False):
            return {key: torch.from_numpy(stored[key]) for key in stored}


def assert_close(got: torch.Tensor, expected: torch.Tensor, atol: float = 1e-5) -> None:
    """The published tolerance."""
    import torch

    torch.testing.assert_close(got.double(), expected.double(), rtol=0, atol=atol)


def refusal(read: Callable[[Path], Any], content: Any, folder: Path) -> str:
    """The one line, which names the file, with which a checkpoint is refused."""
    import torch

    path = folder / "model.tar"
    torch.save(content, path)
    with pytest.raises(CheckpointError) as caught:
        read(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message


def random_norms(model: torch.nn.Module) -> None:
    """Give batch normalisations what training leaves in them."""
    import torch

    for module in model.modules():
        if isinstance(module, (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d)):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias)
            torch.nn.init.normal_(module.running_mean)
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
