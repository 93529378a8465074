"""Filling a matrix of scores tile by tile, and what names the scores of a bundle and of data."""

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
    """Scores tiles of a split; asked for them band of captions by band of captions."""

    @property
    def grid(self) -> Grid:
        """Images, captions and the tiles that fit its memory."""
        ...

    @property
    def planes(self) -> int:
        """How many scores it gives of a pair."""
        ...

    def score(self, images: slice, captions: slice) -> NDArray[np.float32]:
        """``float32 [planes, images, captions]``, higher is better."""
        ...


def resume_matrix(
    root: Path, identity: Mapping[str, str], *, force: bool = False
) -> ScoreMatrix | None:
    """The scores that were begun in ``root``, None where there are none.

    Args:
        root: The matrix's directory.
        identity: What the scores are of, see `ScoreMatrix`.
        force: Take scores of something else for none.

    Raises:
        InputError: There are scores of something else.
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
        matrix: Where they go.
        scorer: Computes them.
        bar: Told of the pairs.
        name: What they are for, for the bar.

    Raises:
        InputError: An image cannot be encoded.
        OutputError: The disk refuses; what is finished stays.
    """
    done = matrix.done
    bar.start(name, matrix.grid.rows * matrix.grid.columns, done)
    for number in matrix.missing():
        matrix.write(number, scorer.score(*matrix.grid.tile(number)))
        done += matrix.grid.size(number)
        bar.update(done)


def scoring_digest(manifest: Manifest) -> str:
    """Names all that decides a bundle's scores of pairs.

    That is everything but the defaults of its searches with their projections, and a re-ranker,
    which reads the scores.
    """
    content = manifest.model_dump(mode="json", exclude={"pipeline", "reranker"})
    for part, own in (("graphs", "rerank_"), ("files", "graphs/rerank_")):
        kept = {name: info for name, info in content[part].items() if not name.startswith(own)}
        content[part] = kept
    for name in manifest.pipeline.projections.values():
        del content["files"][name]
    return hashlib.sha256(canonical_json(content)).hexdigest()
