"""Galleries of random items, of any size.

The first `ENCODED` items are random and encoded by the bundle's own encoder, so the stored tensors
are realistic. The items after them repeat these, each with noise of its own. So no two are equal,
the memory to make them does not grow with their number, and the time does not depend on the
encoder's speed.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from itr_deploy.benchmarking.random_items import RandomItems
from itr_deploy.bundle.files import output_errors
from itr_deploy.bundle.modality import Modality
from itr_deploy.errors import OutputError
from itr_deploy.runtime.encoding.encoded import Block, Encoded
from itr_deploy.runtime.encoding.sources import SlicedSource
from itr_deploy.runtime.gallery import Gallery
from itr_deploy.runtime.matcher import Matcher

ENCODED, FEW_PICTURES = 256, 16
"""Items that are encoded, of which the others are copies."""
NOISE = 0.05
"""Strength of the noise, in standard deviations of the values that it changes."""


@contextmanager
def synthetic_gallery(
    matcher: Matcher, modality: Modality, count: int, items: RandomItems
) -> Iterator[Path]:
    """A gallery of ``count`` items in float16, in a temporary directory until the block ends.

    Raises:
        OutputError: The disk for temporary files is too small.
    """
    pictures = modality == "image" and matcher.bundle.manifest.images.pictures
    made = items.make(modality, min(count, FEW_PICTURES if pictures else ENCODED))
    encoded = matcher.encode_images(made) if modality == "image" else matcher.encode_texts(made)
    copies = NoisyCopies(matcher, encoded, count)
    _check_space(count * (matcher.item_bytes(modality, copies.positions, 2)), count)
    with output_errors(Path(tempfile.gettempdir())):
        folder = tempfile.TemporaryDirectory(prefix="itr-deploy-bench-")
    with folder as root:
        path = Path(root) / "gallery"
        gallery = Gallery.create(path, matcher, modality)
        gallery.add([f"item{number}" for number in range(count)], copies)
        yield path


class NoisyCopies(SlicedSource):
    """Encoded items, repeated with noise until there are enough."""

    def __init__(self, matcher: Matcher, encoded: Encoded, count: int) -> None:
        super().__init__(matcher)
        self._encoded = encoded
        self.modality = encoded.modality
        self.count = count
        self.positions = max(block.positions for block in encoded.blocks)

    def encode(self, part: slice) -> Encoded:
        """The encoding of a slice of the items; the same slice always gives the same values."""
        rows = np.arange(self.count)[part]
        rng = np.random.default_rng(int(rows[0]))
        known = self._encoded.take(rows % len(self._encoded))
        strength = np.where(rows < len(self._encoded), 0, NOISE).astype(np.float32)
        blocks = tuple(
            Block(
                block.rows,
                {
                    name: _moved(tensor, strength[block.rows], rng)
                    for name, tensor in block.tensors.items()
                },
                block.lengths,
            )
            for block in known.blocks
        )
        embedding = _moved(known.embedding, strength, rng)
        return Encoded(known.modality, embedding, blocks, known.encoding_id)


def _moved(
    values: NDArray[np.floating], strength: NDArray[np.float32], rng: np.random.Generator
) -> NDArray[np.float32]:
    """``[n, .., width]``, each item moved along a random direction of its own in the last axis."""
    direction = rng.standard_normal((len(values), values.shape[-1]), np.float32)
    direction *= strength[:, None] * values.std()
    moved: NDArray[np.float32] = values + (direction[:, None] if values.ndim == 3 else direction)
    return moved


def _check_space(needed: int, count: int) -> None:
    place = tempfile.gettempdir()
    free = shutil.disk_usage(place).free
    if needed > free:
        raise OutputError(
            f"a synthetic gallery of {count:,} items takes {needed / 1e9:.1f} GB and {place} has "
            f"{free / 1e9:.1f} GB free; give fewer, or set TMPDIR to a larger disk"
        )
