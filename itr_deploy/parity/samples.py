"""Inputs for comparisons: random ones in many shapes, all different from the export's."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from itr_deploy.models.contract import TrainedMatcher
from itr_deploy.runtime.encoding.pictures import random_pictures
from itr_deploy.runtime.encoding.places import random_places
from itr_deploy.runtime.encoding.regions import Regions

log = logging.getLogger(__name__)

MARGIN = 4
"""How many times the size of a sample's features a model must take without overflowing."""
FEW_PICTURES = 6
"""Pictures of a sample: the network that reads one takes as long as thousands of regions."""
LARGEST = 4
"""About the largest of the features of a sample, which are normally distributed."""


@dataclass(frozen=True, eq=False)
class Sample:
    """Images and texts to score against each other.

    Attributes:
        images: As the encoder's graph takes them, by the inputs' names: ``regions``, ``float32
            [N, R, Di]``, and where boxes are taken ``boxes`` and ``picture_sizes``; or
            ``pictures``, ``uint8 [N, H, W, 3]``.
        token_ids: ``int64 [C, L]``, padded with 0.
        lengths: ``int64 [C]``.
    """

    images: Mapping[str, NDArray[Any]]
    token_ids: NDArray[np.int64]
    lengths: NDArray[np.int64]

    @property
    def count(self) -> int:
        """Number of images."""
        return min(map(len, self.images.values()))

    def given(self, part: slice = slice(None)) -> Any:
        """Some of the images as a matcher takes them."""
        arrays = {name: array[part] for name, array in self.images.items()}
        if "pictures" in arrays:
            return arrays["pictures"]
        regions = arrays.pop("regions")
        return Regions(regions, **arrays)

    @property
    def name(self) -> str:
        """The sample's shapes, for the report."""
        first = next(iter(self.images.values()))
        size = "{} regions" if first.ndim == 3 else "{} x {} pixels"
        images = f"{self.count} images x {size.format(*first.shape[1:])}"
        texts, padded = self.token_ids.shape
        low, high = self.lengths.min(), self.lengths.max()
        return f"{images}, {texts} texts of {low}-{high} in {padded}"

    def tensors(self) -> tuple[torch.Tensor, ...]:
        """The arrays as torch tensors, as `PlainMatcher.score` takes them."""
        return (*self.image_tensors(), *self.text_tensors())

    def image_tensors(self) -> tuple[torch.Tensor, ...]:
        """The images as torch tensors."""
        return tuple(map(torch.from_numpy, self.images.values()))

    def text_tensors(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The token ids and the lengths as torch tensors."""
        return torch.from_numpy(self.token_ids), torch.from_numpy(self.lengths)


def random_samples(trained: TrainedMatcher, seed: int = 0) -> list[Sample]:
    """Small samples: one or several items, various region counts, lengths from 1 with padding."""
    rng = np.random.default_rng(seed)
    shapes = ((1, 36, 1, (3, 3), 0), (2, 5, 9, (1, 19), 4), (11, 36, 4, (2, 7), 0))
    return [random_sample(trained, rng, *shape) for shape in shapes]


def rank_sample(trained: TrainedMatcher, seed: int = 1) -> Sample:
    """A sample with enough images and texts to rank."""
    images = FEW_PICTURES if trained.deployed.takes_pictures else 32
    return random_sample(trained, np.random.default_rng(seed), images, 36, 24, (4, 16), 0)


def random_sample(
    trained: TrainedMatcher,
    rng: np.random.Generator,
    images: int,
    regions: int,
    texts: int,
    length_range: tuple[int, int],
    extra_padding: int,
) -> Sample:
    """One random sample; if the model fixes the regions or padded length, that takes precedence."""
    deployed = trained.deployed
    low, high = length_range
    if deployed.text_length is not None:
        high = min(high, deployed.text_length)
    lengths = rng.integers(low, high, size=texts, endpoint=True)
    lengths[0] = high
    padded = deployed.text_length or high + extra_padding
    ids = rng.integers(1, trained.vocab_size, size=(texts, padded))
    ids[np.arange(padded) >= lengths[:, None]] = 0
    return Sample(_random_images(trained, rng, images, deployed.regions or regions), ids, lengths)


def _random_images(
    trained: TrainedMatcher, rng: np.random.Generator, images: int, regions: int
) -> dict[str, NDArray[Any]]:
    if trained.deployed.takes_pictures:
        return {"pictures": random_pictures(rng, min(images, FEW_PICTURES))}
    values = rng.standard_normal((images, regions, trained.image_dim), dtype=np.float32)
    given = {"regions": values * feature_scale(trained)}
    if trained.deployed.takes_boxes:
        given |= zip(("boxes", "picture_sizes"), random_places(rng, images, regions), strict=True)
    return given


def feature_scale(trained: TrainedMatcher) -> np.float32:
    """Size of random features that the model can take: 1, or less where it would overflow.

    A model's layers may amplify their inputs repeatedly: weights made for a data set of small
    features turn larger ones into NaN, which cannot be compared. Features `MARGIN` times as large
    must still work.
    """
    deployed = trained.deployed
    if deployed.takes_pictures:
        return np.float32(1)  # bytes are as large as they are
    shape = (2, deployed.regions or 36, trained.image_dim)
    values = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    for halvings in range(12):
        scale = np.float32(0.5**halvings)
        images = [MARGIN * scale * values]
        if deployed.takes_boxes:
            images += random_places(np.random.default_rng(0), *shape[:2])
        with torch.inference_mode():
            encoded = deployed.encode_given([torch.from_numpy(array) for array in images])
        if all(bool(torch.isfinite(tensor).all()) for tensor in encoded):
            return scale
    return np.float32(1)


def tell_of_overflow(trained: TrainedMatcher) -> None:
    """Warn if the model overflows on usual features, and the gate's samples are smaller."""
    scale = feature_scale(trained)
    if scale < 1:
        log.warning(
            "the model overflows on features as large as %.3g: it is compared with PyTorch on "
            "features up to about %.3g, and a search refuses images on which it overflows",
            2 * MARGIN * scale * LARGEST,
            scale * LARGEST,
        )
