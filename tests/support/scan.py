"""SCAN's golden cases, small models, and its score written out pair by pair."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from itr_deploy.models.scan.config import ScanConfig
from itr_deploy.models.scan.plain import Scan
from tests.support.golden import DATA, Case


@dataclass(frozen=True)
class ScanCase(Case):
    """A published checkpoint, its inputs and outputs."""

    @property
    def folder(self) -> Path:
        return DATA / "scan" / self.name

    @property
    def export_words(self) -> tuple[object, ...]:
        """The family and its files, as ``itr-deploy export`` takes them."""
        return "scan", "--checkpoint", self.checkpoint, "--vocab", self.vocab

    @property
    def tensors(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Regions, token ids and lengths."""
        regions, ids, lengths = map(torch.from_numpy, (self.regions, self.token_ids, self.lengths))
        return regions, ids, lengths


LSE = ScanCase("t2i_lse")
"""As Python 2 wrote it on a GPU: not a zip, byte strings, CUDA storages."""
I2T = ScanCase("i2t_mean_softmax_unigru")
"""As Python 2 wrote it on a CPU."""
NO_NORMS = ScanCase("t2i_max_weightnorm_nonorms")
"""A zip, with weight_g and weight_v."""
CASES = (LSE, I2T, NO_NORMS)


def golden_checkpoint(case: ScanCase = LSE) -> dict[str, Any]:
    with torch.serialization.safe_globals([argparse.Namespace]):
        return torch.load(case.checkpoint, map_location="cpu", weights_only=True)


def write_checkpoint(
    path: Path,
    *,
    options: dict[str, Any] | None = None,
    without: tuple[str, ...] = (),
    weights: dict[tuple[int, str], torch.Tensor | None] | None = None,
    case: ScanCase = LSE,
) -> Path:
    """A golden checkpoint with other options and weights, by part; a weight of None is left out."""
    content = golden_checkpoint(case)
    vars(content["opt"]).update(options or {})
    for name in without:
        delattr(content["opt"], name)
    for (part, name), value in (weights or {}).items():
        if value is None:
            del content["model"][part][name]
        else:
            content["model"][part][name] = value
    torch.save(content, path)
    return path


def random_model(config: ScanConfig, seed: int = 0) -> Scan:
    """A model in float64, so that any difference comes from the form of the arithmetic."""
    torch.manual_seed(seed)
    return Scan(config).double().eval()


def score_of_pair(config: ScanConfig, regions: np.ndarray, words: np.ndarray) -> float:
    """The score of one image and one unpadded caption, query by query, from their embeddings."""
    queries, context = (words, regions) if config.direction == "t2i" else (regions, words)
    rows = np.array([_first_norm(config.attention_norm, queries @ item) for item in context])
    cosines = []
    for query, logits in zip(queries, config.temperature * rows.T, strict=True):
        weights = np.exp(logits - logits.max())
        attended = weights @ context / weights.sum()
        norms = np.linalg.norm(query) * np.linalg.norm(attended)
        cosines.append(query @ attended / max(norms, 1e-8))
    if config.aggregation == "LogSumExp":
        exponents = config.sharpness * np.array(cosines)
        largest = exponents.max()
        return float((np.log(np.exp(exponents - largest).sum()) + largest) / config.sharpness)
    return float({"Mean": np.mean, "Max": np.max, "Sum": np.sum}[config.aggregation](cosines))


def _first_norm(kind: str, row: np.ndarray) -> np.ndarray:
    if kind in ("clipped", "clipped_l2norm"):
        row = np.where(row > 0, row, 0.1 * row)
    if kind in ("l2norm", "clipped_l2norm"):
        row = row / (np.sqrt((row**2).sum()) + 1e-8)
    if kind == "softmax":
        row = np.exp(row - row.max())
        row = row / row.sum()
    return row
