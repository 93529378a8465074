"""Coarse embeddings of a split, made without a model."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from itr_deploy.evaluation.scores.coarse import EMBEDDINGS, Coarse


def coarse_of(root: Path, images: np.ndarray, texts: np.ndarray) -> Coarse:
    for modality, vectors in (("image", images), ("text", texts)):
        np.save(root / EMBEDDINGS[modality], vectors.astype(np.float32))
    return Coarse(root)
