"""Bundles with a coarse projection made of random forms."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from itr_deploy.bundle.store import read_bundle
from itr_deploy.evaluation.tuning.pipeline import write_defaults
from itr_deploy.evaluation.tuning.widths import Widths
from itr_deploy.runtime.projection import Projection

WIDTHS = {"text": Widths(None, 8, 1.0), "image": Widths(None, 9, 1.0)}


def random_projection(bundle: Path, seed: int = 0) -> Projection:
    width = read_bundle(bundle).manifest.embedding_dim
    rng = np.random.default_rng(seed)
    return Projection(
        {query: rng.standard_normal((width, width), np.float32) for query in ("text", "image")}
    )


def tuned_copy(bundle: Path, copy: Path) -> Path:
    shutil.copytree(bundle, copy)
    write_defaults(read_bundle(copy), WIDTHS, random_projection(copy))
    return copy
