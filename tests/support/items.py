"""Random images and texts in the golden models' sizes."""

from __future__ import annotations

import numpy as np

from tests.support.golden import FULL

WIDTH = FULL.regions.shape[2]


def images(count: int, regions: int = 5, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, regions, WIDTH), np.float32)


def texts(lengths: list[int], padding: int = 0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Padded token ids and lengths."""
    counts = np.array(lengths)
    ids = np.random.default_rng(seed).integers(1, 40, (len(counts), counts.max() + padding))
    ids[np.arange(ids.shape[1]) >= counts[:, None]] = 0
    return ids, counts


def captions(count: int, seed: int = 0) -> list[str]:
    """Texts of 1 to 18 known words."""
    rng = np.random.default_rng(seed)
    words = np.array(FULL.captions[0].split() + FULL.captions[3].split() + FULL.captions[6].split())
    return [" ".join(rng.choice(words, rng.integers(1, 19))) for _ in range(count)]


def names(count: int, prefix: str = "item") -> list[str]:
    return [f"{prefix}{number:04d}" for number in range(count)]
