"""Fills a matrix of scores tile by tile, and computes the digest that identifies its scores."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from itr_deploy.bundle.files import canonical_json
from itr_deploy.bundle.manifest import Manifest
from itr_deploy.errors import InputError
from itr_deploy.evaluation.progress import QUIET, Bar
from itr_deploy.evaluation.scores.grid import Grid
from itr_deploy.evaluation.scores.matrix import ScoreMatrix


class TileScorer(Protocol):
    """Scores tiles of a split; they are requested one band of captions after the other."""

    @property
    def grid(self) -> Grid:
        """Number of images and captions, and the size of tiles that fit its memory."""
        ...

    @property
    def planes(self) -> int:
        """Number of scores per pair."""
        ...

    def score(self, images: slice, captions: slice) -> NDArray[np.float32]:
        """Scores ``float32 [planes, images, captions]``, higher is better."""
        ...


def resume_matrix(
    root: Path, identity: Mapping[str, str], *, force: bool = False
) -> ScoreMatrix | None:
    """The scores that an earlier run began in ``root``, None if there are none.

    Args:
        root: The matrix's directory.
        identity: What the scores are of, see `ScoreMatrix.create`.
        force: Return None for scores of something else.

    Raises:
        InputError: There are scores of something else, and ``force`` is not set.
    """
    try:
        return ScoreMatrix.resume(root, identity)
    except InputError:
        if not force:
            raise
        return None


def fill(matrix: ScoreMatrix, scorer: TileScorer, bar: Bar = QUIET, name: str = "") -> None:
    """Compute the tiles that are missing.

    Args:
        matrix: Where the tiles are written.
        scorer: Computes them.
        bar: Receives the number of pairs.
        name: What the pairs are for, shown by the bar.

    Raises:
        InputError: An image cannot be encoded.
        OutputError: The disk cannot be written; finished tiles stay.
    """
    done = matrix.done
    bar.start(name, matrix.grid.rows * matrix.grid.columns, done)
    for number in matrix.missing():
        matrix.write(number, scorer.score(*matrix.grid.tile(number)))
        done += matrix.grid.size(number)
        bar.update(done)


def scoring_digest(manifest: Manifest) -> str:
    """A SHA-256 of everything that determines a bundle's scores of pairs.

    That is the whole manifest except the defaults of its searches, with their projections, and the
    re-ranker, which only reads the scores.
    """
    content = manifest.model_dump(mode="json", exclude={"pipeline", "reranker"})
    for part, own in (("graphs", "rerank_"), ("files", "graphs/rerank_")):
        kept = {name: info for name, info in content[part].items() if not name.startswith(own)}
        content[part] = kept
    for name in manifest.pipeline.projections.values():
        del content["files"][name]
    return hashlib.sha256(canonical_json(content)).hexdigest()
