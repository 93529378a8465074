"""Tiles of scores from a bundle, in bounded memory.

Captions are the outer loop, so each is encoded once. Encoded images are kept while they fit their
share of the memory. Those that do not fit are encoded again for every band of captions, which costs
a few percent of the scoring. Writing them to disk in float32, which is exact, would take gigabytes.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from itr_deploy.bundle.modality import MATCHERS, Modality
from itr_deploy.errors import UsageError
from itr_deploy.evaluation.scores.coarse import Coarse, query_blocks
from itr_deploy.evaluation.scores.grid import Grid
from itr_deploy.evaluation.scores.split_encoder import SplitItems
from itr_deploy.runtime.encoding.encoded import Encoded
from itr_deploy.runtime.encoding.in_bytes import in_bytes
from itr_deploy.runtime.ranking import ROUNDING
from itr_deploy.runtime.scorer import Scorer

TILE_PAIRS = 1 << 14
"""Maximum pairs in a tile, which a kill loses: up to a minute's work of a published matcher."""

BAND = 1024
"""Maximum captions in a band; an image that was not kept is encoded again for each band."""


class BundleScorer:
    """Scores tiles of a split with a bundle, every pair in float32, or images in bytes.

    Attributes:
        scored: Number of pairs scored so far.
    """

    planes = 1
    tile_pairs = TILE_PAIRS

    def __init__(
        self, items: SplitItems, scorer: Scorer | None = None, as_bytes: Collection[str] = ()
    ) -> None:
        """Score pairs.

        Args:
            items: Images and captions.
            scorer: By default their matcher.
            as_bytes: Names of the image tensors that ``scorer`` reads as bytes, if it does.
        """
        self.scored = 0
        self._items = items
        self._scorer, self._as_bytes = scorer or items.matcher.scorer, as_bytes
        self._room = items.matcher.memory_budget // 2
        self._kept: dict[tuple[int, int], Encoded] = {}
        self._band: tuple[slice, Encoded] | None = None

    @property
    def grid(self) -> Grid:
        """Number of images and captions, and the size of tiles that fit the memory budget."""
        budget = self._items.matcher.memory_budget
        images, captions = self._items.images.count, self._items.captions.count
        columns = _between(1, budget // 4 // self._items.caption_bytes, min(BAND, captions))
        rows = min(self.tile_pairs // columns, budget // 8 // self._items.image_bytes)
        return Grid(images, captions, _between(1, rows, images), columns)

    def score(self, images: slice, captions: slice) -> NDArray[np.float32]:
        """Scores ``float32 [planes, images, captions]``, higher is better.

        Raises:
            InputError: Regions are not finite.
        """
        if self._band is None or self._band[0] != captions:
            self._band = captions, self._items.encode_captions(captions)
        scores = self._tile(images, captions, self._band[1], self._encoded_images(images))
        return np.ascontiguousarray(scores.transpose(0, 2, 1))

    def _tile(
        self, images: slice, captions: slice, texts: Encoded, gallery: Encoded
    ) -> NDArray[np.float32]:
        """Scores ``float32 [planes, captions, images]``."""
        self.scored += len(texts) * len(gallery)
        return self._scorer.score_all(texts, gallery)[None]

    def _encoded_images(self, part: slice) -> Encoded:
        key = part.start, part.stop
        if key in self._kept:
            return self._kept[key]
        encoded = self._items.encode_images(part)
        if self._as_bytes:
            encoded = in_bytes(encoded, self._as_bytes)
        size = sum(tensor.nbytes for block in encoded.blocks for tensor in block.tensors.values())
        # Every band visits the images in the same order, so the images kept first stay.
        if size <= self._room:
            self._room -= size
            self._kept[key] = encoded
        return encoded


class StepScorer(BundleScorer):
    """Scores pairs; further planes after the score hold each step's part of it."""

    tile_pairs = TILE_PAIRS // 2

    def __init__(self, items: SplitItems, output: str) -> None:
        """Find the steps in the bundle: they are the last axis of ``output`` of its graphs.

        Raises:
            UsageError: The bundle's graphs have no such output.
        """
        super().__init__(items)
        bundle = items.matcher.bundle
        graph = bundle.manifest.graphs[bundle.manifest.graph(MATCHERS["text"], "float32")]
        shapes = {entry.name: entry.shape for entry in graph.outputs}
        if output not in shapes:
            raise UsageError(
                f"{bundle.path}: its matcher graphs give {', '.join(shapes)}, and no {output!r} "
                "with the scores of single steps; export it again with them"
            )
        self.planes, self._output = 1 + int(shapes[output][-1]), output

    def _tile(
        self, images: slice, captions: slice, texts: Encoded, gallery: Encoded
    ) -> NDArray[np.float32]:
        self.scored += len(texts) * len(gallery)
        scores, steps = self._scorer.score_with(texts, gallery, self._output)
        return np.concatenate([scores[None], np.moveaxis(steps, -1, 0)])


class ShortlistScorer(BundleScorer):
    """Scores the pairs that the coarse embedding shortlists in either direction; the rest is NaN.

    A pair on the shortlists of both directions is scored once; its score is the same for both.
    """

    tile_pairs = 16 * TILE_PAIRS

    def __init__(self, items: SplitItems, coarse: Coarse, width: int) -> None:
        """Find the lowest coarse score on the shortlist of every image and every caption."""
        super().__init__(items)
        self._coarse = coarse
        self._least_of_image = _limits(coarse, "image", width)
        self._least_of_caption = _limits(coarse, "text", width)

    def _tile(
        self, images: slice, captions: slice, texts: Encoded, gallery: Encoded
    ) -> NDArray[np.float32]:
        by_image = self._coarse.tile("image", images, captions).T
        wanted = by_image >= self._least_of_image[images]
        by_caption = self._coarse.tile("text", captions, images)
        wanted |= by_caption >= self._least_of_caption[captions, None]
        scores = np.full(wanted.shape, np.nan, np.float32)
        counts = wanted.sum(axis=1)
        self.scored += int(counts.sum())
        # A call needs the same number of candidates for every query, so queries are grouped by it.
        for count in np.unique(counts[counts > 0]):
            rows = np.flatnonzero(counts == count)
            candidates = np.nonzero(wanted[rows])[1].reshape(len(rows), count)
            scores[rows[:, None], candidates] = self._scorer.score_candidates(
                texts.take(rows), gallery, candidates
            )
        return scores[None]


def _limits(coarse: Coarse, query: Modality, width: int) -> NDArray[np.float32]:
    """The coarse score of the last item on every query's shortlist, less rounding."""
    queries, items = coarse.queries(query), coarse.items(query)
    limits = np.full(queries, -np.inf, np.float32)
    for part in query_blocks(queries, items):
        if width < items:
            rows = coarse.rows(query, part)
            limits[part] = np.partition(rows, items - width, axis=1)[:, items - width]
    slack = np.float32(ROUNDING) * (1 + np.abs(limits))
    return limits - slack


def _between(least: int, value: int, most: int) -> int:
    return max(least, min(value, most))
