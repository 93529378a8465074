"""A golden re-ranker on the golden IMRAM, with galleries of both modalities."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from itr_deploy import Gallery, Matcher
from tests.support.exports import Bundles
from tests.support.items import captions, images, names
from tests.support.leaprr import SMALL

COUNT = 40


@dataclass(frozen=True)
class World:
    """Forty images and forty texts, each a gallery for one direction and a bank for the other."""

    bundle: Path
    galleries: dict[str, Path]

    @property
    def matcher(self) -> Matcher:
        return Matcher.load(self.bundle)

    def paths(self, query: str) -> tuple[Path, Path]:
        """The gallery and the bank of queries of a modality."""
        other = "image" if query == "text" else "text"
        return self.galleries[other], self.galleries[query]


def items(modality: str, count: int = COUNT, seed: int = 0):
    return images(count, seed=seed) if modality == "image" else captions(count, seed=seed)


@pytest.fixture(scope="session")
def world(bundle: Path, bundles: Bundles, tmp_path_factory: pytest.TempPathFactory) -> World:
    """Not to be changed."""
    root = tmp_path_factory.mktemp("rerank")
    path = bundles.of(*SMALL.words(bundle))
    matcher = Matcher.load(path)
    paths = {}
    for modality in ("image", "text"):
        paths[modality] = root / modality
        gallery = Gallery.create(paths[modality], matcher, modality, "float32")
        order = np.random.default_rng(5).permutation(COUNT)
        ids = [names(COUNT, modality)[place] for place in order]
        gallery.add(ids, items(modality))
    return World(path, paths)
