"""Small IMRAM models and checkpoints, and IMRAM's score written out pair by pair."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch

from itr_deploy.models.contract import DeployedMatcher
from itr_deploy.models.imram.config import ImramConfig
from itr_deploy.models.imram.plain import Imram
from tests.support.golden import FULL, Case


def random_model(config: ImramConfig, seed: int = 0) -> Imram:
    """A model in float64, so that any difference comes from the form of the arithmetic."""
    torch.manual_seed(seed)
    return Imram(config).double().eval()


def random_items(
    config: ImramConfig, images: int, regions: int, lengths: list[int], padding: int, seed: int = 0
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((images, regions, config.image_dim))
    ids = rng.integers(1, config.vocab_size, size=(len(lengths), max(lengths) + padding))
    ids[np.arange(ids.shape[1]) >= np.array(lengths)[:, None]] = 0
    return torch.from_numpy(features), torch.from_numpy(ids), torch.tensor(lengths)


@torch.inference_mode()
def deployed_scores(
    deployed: DeployedMatcher, regions: torch.Tensor, ids: torch.Tensor, lengths: torch.Tensor
) -> torch.Tensor:
    """The scores of all pairs by the exported form, ``[N, C]``."""
    images = [tensor.unsqueeze(0) for tensor in deployed.encode_images(regions)[:-1]]
    texts = [tensor.unsqueeze(0) for tensor in deployed.encode_texts(ids, lengths)[:-1]]
    return deployed.match(texts, lengths.unsqueeze(0), images)[0].T


def golden_checkpoint(case: Case = FULL) -> dict[str, Any]:
    with torch.serialization.safe_globals([argparse.Namespace]):
        return torch.load(case.checkpoint, weights_only=True)


def write_checkpoint(
    path: Path,
    *,
    options: dict[str, Any] | None = None,
    without: tuple[str, ...] = (),
    weights: dict[str, torch.Tensor | None] | None = None,
    case: Case = FULL,
) -> Path:
    """A golden checkpoint with other options and weights; a weight of None is left out."""
    content = golden_checkpoint(case)
    vars(content["opt"]).update(options or {})
    for name in without:
        delattr(content["opt"], name)
    for name, value in (weights or {}).items():
        if value is None:
            del content["model"][f"module.{name}"]
        else:
            content["model"][f"module.{name}"] = value
    torch.save(content, path)
    return path


def score_of_pair(
    model: Imram, regions: np.ndarray, words: np.ndarray, *, clamped: bool = False
) -> float:
    """The score of one image and one unpadded caption, word by word, from their embeddings.

    The published norm adds 1e-8 to its denominator; with ``clamped`` the denominator is at least
    1e-8 instead, as in the exported graphs. They differ where a norm is tiny.
    """
    paper = _Paper(model, clamped)
    total = 0.0
    if model.config.mode != "image_IMRAM":
        total += paper.branch("t2i", words, regions)
    if model.config.mode != "text_IMRAM":
        total += paper.branch("i2t", regions, words)
    return total


class _Paper:
    """Equations 4 to 11 for one query set and one context set."""

    def __init__(self, model: Imram, clamped: bool) -> None:
        self._config = model.config
        self._weights = {name: value.numpy() for name, value in model.state_dict().items()}
        self._clamped = clamped

    def branch(self, name: str, original: np.ndarray, context: np.ndarray) -> float:
        queries, total = list(original), 0.0
        for _ in range(self._config.steps):
            attended = self._attend(np.array(queries), context)
            pairs = list(zip(original, attended, strict=True))
            total += float(np.mean([_cosine(query, found) for query, found in pairs]))
            queries = [
                self._remember(name, query, found)
                for query, found in zip(queries, attended, strict=True)
            ]
        return total

    def _attend(self, queries: np.ndarray, context: np.ndarray) -> list[np.ndarray]:
        rows = np.array([self._first_norm(queries @ item) for item in context])
        attended = []
        for column in rows.T * self._config.temperature:
            exponentials = np.exp(column - column.max())
            attended.append((exponentials / exponentials.sum()) @ context)
        return attended

    def _first_norm(self, row: np.ndarray) -> np.ndarray:
        kind = self._config.attention_norm
        if kind in ("clipped", "clipped_l2norm"):
            row = np.where(row > 0, row, 0.1 * row)
        if kind in ("l2norm", "clipped_l2norm"):
            row = self._l2(row)
        if kind == "softmax":
            row = np.exp(row - row.max())
            row = row / row.sum()
        return row

    def _remember(self, branch: str, query: np.ndarray, found: np.ndarray) -> np.ndarray:
        both = np.concatenate([query, found])
        linear, gate = (
            self._weights[f"{unit}_{branch}.weight"] @ both + self._weights[f"{unit}_{branch}.bias"]
            for unit in ("linear", "gate")
        )
        share = 1 / (1 + np.exp(-gate))
        updated = share * query + (1 - share) * np.tanh(linear)
        return self._l2(updated) if self._config.memory_norm else updated

    def _l2(self, x: np.ndarray) -> np.ndarray:
        norm = np.sqrt((x**2).sum())
        return x / (max(norm, 1e-8) if self._clamped else norm + 1e-8)


def _cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b) / max(float(np.linalg.norm(a) * np.linalg.norm(b)), 1e-8)
