"""Scoring every image with every caption of a split, in tiles of bounded memory.

Captions are the outer loop: each is encoded once. Encoded images are kept as far as they fit their
share of the memory and are encoded again for every band of captions beyond it, which costs a few
percent of the scoring; writing them to disk would cost gigabytes, in float32, which is exact.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from itr_deploy.bundle.files import canonical_json
from itr_deploy.bundle.manifest import Manifest
from itr_deploy.errors import InputError
from itr_deploy.evaluation.dataset import Split
from itr_deploy.evaluation.matrix import Grid, ScoreMatrix
from itr_deploy.evaluation.memory import release_pages
from itr_deploy.runtime.items import Encoded
from itr_deploy.runtime.matcher import Matcher
from itr_deploy.runtime.sources import ImageSource, TextSource

TILE_PAIRS = 1 << 14
"""Pairs of a tile at most: what a kill costs, seconds to a minute of a published matcher's time."""

BAND = 1024
"""Captions of a band at most: an image is encoded again for each, if it was not kept."""

ROWS_A_DIGEST = 256


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


class BundleScorer:
    """Scores tiles of a split with a bundle, every pair in float32."""

    planes = 1

    def __init__(self, matcher: Matcher, split: Split) -> None:
        """Check the split's shapes and look up its words.

        Raises:
            InputError: The bundle cannot take them.
        """
        self._matcher = matcher
        self._images = ImageSource(matcher, split.regions)
        self._captions = TextSource(matcher, split.captions)
        self._regions = split.regions
        self._room = matcher.memory_budget // 2
        self._kept: dict[tuple[int, int], Encoded] = {}
        self._band: tuple[slice, Encoded] | None = None

    @property
    def grid(self) -> Grid:
        """See `TileScorer.grid`."""
        caption = self._matcher.item_bytes("text", self._captions.positions)
        image = self._matcher.item_bytes("image", self._images.positions)
        budget = self._matcher.memory_budget
        columns = _between(1, budget // 4 // caption, min(BAND, self._captions.count))
        rows = min(TILE_PAIRS // columns, budget // 8 // image)
        return Grid(
            self._images.count,
            self._captions.count,
            _between(1, rows, self._images.count),
            columns,
        )

    def score(self, images: slice, captions: slice) -> NDArray[np.float32]:
        """See `TileScorer.score`.

        Raises:
            InputError: Regions that are not finite.
        """
        if self._band is None or self._band[0] != captions:
            self._band = captions, self._captions.encode(captions)
        texts = self._band[1]
        scores = self._matcher.scorer.score_all(texts, self._encoded_images(images))
        return np.ascontiguousarray(scores.T)[None]

    def _encoded_images(self, part: slice) -> Encoded:
        key = part.start, part.stop
        if key in self._kept:
            return self._kept[key]
        encoded = self._images.encode(part)
        release_pages(self._regions)
        size = sum(tensor.nbytes for block in encoded.blocks for tensor in block.tensors.values())
        # Tiles come round in the same order every time: what was kept first stays.
        if size <= self._room:
            self._room -= size
            self._kept[key] = encoded
        return encoded


def open_matrix(
    root: Path, identity: dict[str, str], scorer: TileScorer, *, force: bool = False
) -> ScoreMatrix:
    """The scores that were begun in ``root``, or an empty matrix there.

    Args:
        root: The matrix's directory.
        identity: What the scores are of, see `ScoreMatrix`.
        scorer: Says how large it is.
        force: Whether scores of something else may be replaced.

    Raises:
        InputError: There are scores of something else.
        OutputError: The disk refuses.
    """
    try:
        found = ScoreMatrix.resume(root, identity)
    except InputError:
        if not force:
            raise
        found = None
    return found or ScoreMatrix.create(root, identity, scorer.grid, scorer.planes)


def fill(
    matrix: ScoreMatrix, scorer: TileScorer, progress: Callable[[int], object] = lambda done: None
) -> None:
    """Compute the tiles that are missing.

    Args:
        matrix: Where they go.
        scorer: Computes them.
        progress: Called with the number of pairs that are done.

    Raises:
        InputError: An image cannot be encoded.
        OutputError: The disk refuses; what is finished stays.
    """
    done = matrix.done
    for number in matrix.missing():
        matrix.write(number, scorer.score(*matrix.grid.tile(number)))
        done += matrix.grid.size(number)
        progress(done)


def scoring_digest(manifest: Manifest) -> str:
    """Names all that decides a bundle's scores: everything but the defaults of its searches."""
    content = manifest.model_dump(mode="json", exclude={"pipeline"})
    return hashlib.sha256(canonical_json(content)).hexdigest()


def data_digest(split: Split) -> str:
    """Names a split's regions, captions and their order, wherever they lie."""
    digest = hashlib.sha256()
    shape = [list(split.regions.shape), str(split.regions.dtype), split.captions_per_image]
    digest.update(canonical_json([*shape, split.captions]))
    for start in range(0, len(split.regions), ROWS_A_DIGEST):
        digest.update(np.ascontiguousarray(split.regions[start : start + ROWS_A_DIGEST]).data)
        release_pages(split.regions)
    return digest.hexdigest()


def _between(least: int, value: int, most: int) -> int:
    return max(least, min(value, most))
