"""The work that all peers do, made once as files that need nothing but NumPy to be read.

Two parts of equal form. ``published`` is IMRAM in text mode at its published sizes with random
weights (`benchmarks.models`), for the times. ``shapes`` is the trained IMRAM of `examples/shapes`
with its test split, for what a search finds.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

IMAGES, LARGE, QUERIES, CAPTIONS, PAIRED = 1000, 100_000, 20, 24, 64
"""Images and queries of the times; captions and images of the pairs a second."""
WORDS, SEED = 12, 0
"""Words in a query; 14 tokens with start and end, the mean of Flickr30K's captions."""
TOP = 10


@dataclass(frozen=True)
class Part:
    """One model, its images and its captions, below a folder.

    ======================  =======================================================================
    bundle/, gallery/       as `export` and `index` make them; the gallery's ids are the images'
                            places
    state.pt, config.json   the plain model's weights, and its `ImramConfig`
    regions.npy             float32 [N, R, Di], what a detector gives
    images.npy              float32 [N, R, D], embedded by the plain model
    captions.json           C texts; of ``published`` the last `QUERIES` are the queries, of 14
                            tokens each, all others are of 8 to 20
    ids.npy, lengths.npy    int64 [C, L] and [C], their tokens
    words.npy               float32 [C, L, D], embedded by the plain model
    scores.npy              float32 [N, C], those of our matcher, float32, every pair; of
                            ``published`` the first `PAIRED` images
    ======================  =======================================================================
    """

    folder: Path

    @property
    def bundle(self) -> Path:
        """Our bundle."""
        return self.folder / "bundle"

    @property
    def gallery(self) -> Path:
        """Our float16 gallery of all images."""
        return self.folder / "gallery"

    @property
    def state(self) -> Path:
        """The plain model's weights."""
        return self.folder / "state.pt"

    def config(self) -> dict[str, Any]:
        """The fields of the plain model's `ImramConfig`."""
        found: dict[str, Any] = json.loads(self._read("config.json"))
        return found

    def captions(self) -> list[str]:
        """The texts."""
        found: list[str] = json.loads(self._read("captions.json"))
        return found

    def array(self, name: str) -> NDArray[Any]:
        """One of the arrays, mapped: regions, images, ids, lengths, words, scores."""
        found: NDArray[Any] = np.load(self.folder / f"{name}.npy", mmap_mode="r")
        return found

    def _read(self, name: str) -> str:
        return (self.folder / name).read_text(encoding="utf-8")


@dataclass(frozen=True)
class World:
    """Both parts, and a folder for what each peer makes once."""

    folder: Path

    @property
    def published(self) -> Part:
        """Published sizes, random weights."""
        return Part(self.folder / "published")

    @property
    def shapes(self) -> Part:
        """The trained IMRAM of `examples/shapes`."""
        return Part(self.folder / "shapes")

    @property
    def large(self) -> Part:
        """The published model's bundle with ``--precompute none`` and a gallery of `LARGE` images.

        It has nothing else, and is there only if ``--large`` was given once.
        """
        return Part(self.folder / "large")

    def of(self, name: str) -> Path:
        """The folder of one peer, made if need be."""
        folder = self.folder / "peers" / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def make(self, *, large: bool = False) -> None:
        """Make what is not there yet; needs PyTorch, a minute, and 8 GB of disk if ``large``."""
        from benchmarks.peers.making import make_large, make_published, make_shapes

        self.folder.mkdir(parents=True, exist_ok=True)
        steps = [(self.published, make_published), (self.shapes, make_shapes)]
        if large:
            steps.append((self.large, make_large))
        for part, making in steps:
            done = part.folder / "done"
            if not done.exists():
                making(part)
                done.touch()


def kept_of_top(scores: NDArray[np.float32], found: NDArray[np.int64]) -> float:
    """The share of the exhaustive `TOP` that was found: ``[N, C], [C, TOP] -> 0..1``."""
    best = np.argsort(-scores, axis=0, kind="stable")[:TOP].T
    kept = [len(np.intersect1d(one, two)) for one, two in zip(best, found, strict=True)]
    return float(np.mean(kept)) / TOP
