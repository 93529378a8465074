"""Random queries and items that a bundle accepts."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itr_deploy.bundle.modality import Modality
from itr_deploy.errors import BundleError
from itr_deploy.runtime.encoding.checks import NotFiniteError
from itr_deploy.runtime.encoding.pictures import random_pictures
from itr_deploy.runtime.encoding.places import random_places
from itr_deploy.runtime.encoding.regions import Regions
from itr_deploy.runtime.matcher import Matcher

REGIONS = 36
"""Regions per image if the model does not fix them: as many as in the published features."""
WORDS = (8, 16)
"""Minimum and maximum words per caption: the usual lengths in Flickr30K and MS-COCO."""
MARGIN, HALVINGS = 4, 12


class RandomItems:
    """Captions of words that a model knows, and regions that do not make it overflow."""

    def __init__(self, matcher: Matcher, seed: int = 0) -> None:
        """Read the vocabulary and the sizes.

        Raises:
            BundleError: The vocabulary has no words.
        """
        manifest = matcher.bundle.manifest
        self._rng = np.random.default_rng(seed)
        self._words = np.array(matcher.text.words)
        if not len(self._words):
            raise BundleError(
                f"{matcher.bundle.path}: its vocabulary has no word to make queries of"
            )
        # The start and end markers are tokens too.
        most = max(1, manifest.texts.max_tokens - 2)
        self._lengths = min(WORDS[0], most), min(WORDS[1], most)
        self._shape = manifest.images.regions or REGIONS, manifest.images.feature_dim
        self._takes_boxes = bool(manifest.images.boxes)
        self._takes_pictures = bool(manifest.images.pictures)
        self._scale = np.float32(1) if self._takes_pictures else self._bearable(matcher)

    def make(self, modality: Modality, count: int) -> Any:
        """Captions, or images as `Matcher.encode_images` takes them."""
        return self.images(count) if modality == "image" else self.captions(count)

    def images(self, count: int) -> Any:
        """`regions`, with random boxes for a model that takes them; or random pictures."""
        if self._takes_pictures:
            return random_pictures(self._rng, count)
        return self._placed(self.regions(count))

    def captions(self, count: int) -> list[str]:
        """Texts of 8 to 16 words; fewer if the model takes fewer tokens."""
        lengths = self._rng.integers(*self._lengths, size=count, endpoint=True)
        return [" ".join(self._rng.choice(self._words, length)) for length in lengths]

    def regions(self, count: int) -> NDArray[np.float32]:
        """Region features ``float32 [count, R, Di]``, normally distributed."""
        return self._scale * self._rng.standard_normal((count, *self._shape), np.float32)

    def _placed(self, regions: NDArray[np.float32]) -> Any:
        if not self._takes_boxes:
            return regions
        return Regions(regions, *random_places(self._rng, *regions.shape[:2]))

    def _bearable(self, matcher: Matcher) -> np.float32:
        """Scale of features that the encoder can take: 1, or less if it would overflow.

        Some models have layers that multiply their inputs, so large features become NaN, which no
        search accepts. Features of `MARGIN` times the scale must pass.
        """
        sample = self._rng.standard_normal((2, *self._shape), np.float32)
        for halvings in range(HALVINGS):
            scale = np.float32(0.5**halvings)
            with suppress(NotFiniteError):
                matcher.encode_images(self._placed(MARGIN * scale * sample))
                return scale
        return np.float32(1)
