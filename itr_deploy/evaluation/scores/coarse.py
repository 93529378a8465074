"""The coarse embeddings of a split, by which a shortlist is chosen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from itr_deploy.bundle.files import output_errors
from itr_deploy.bundle.modality import MODALITIES, Modality, other
from itr_deploy.evaluation.data.memory import release_pages
from itr_deploy.evaluation.scores.split_encoder import SplitItems
from itr_deploy.runtime.encoding.encoded import Encoded
from itr_deploy.runtime.products import product
from itr_deploy.runtime.projection import PLAIN, Projection

CHUNK = 4096
"""Number of gallery items whose vectors are read at a time."""

BLOCK_CELLS = 1 << 21
"""Pairs that are sorted at a time, about 30 bytes each."""

EMBEDDINGS: dict[str, str] = {modality: f"{modality}_embeddings.npy" for modality in MODALITIES}


class Coarse:
    """Coarse scores of a split's images with its captions, from vectors on disk.

    Attributes:
        root: Directory of the vectors.
        projection: Applied to every query's vector.
    """

    def __init__(self, root: Path, projection: Projection = PLAIN) -> None:
        """Open the vectors that `encode` wrote."""
        self.root, self.projection = root, projection
        self._vectors: dict[str, NDArray[np.float32]] = {
            modality: np.load(root / name, mmap_mode="r") for modality, name in EMBEDDINGS.items()
        }

    @classmethod
    def encode(cls, items: SplitItems, root: Path) -> Coarse:
        """Encode a split within the matcher's memory budget and write its embeddings to ``root``.

        The coarse scores are those of a search, with the bundle's projection.

        Raises:
            InputError: Regions are not finite.
            OutputError: The disk cannot be written.
        """
        budget, manifest = items.matcher.memory_budget // 2, items.matcher.bundle.manifest
        parts: tuple[tuple[Modality, int, int, Callable[[slice], Encoded]], ...] = (
            ("image", items.images.count, budget // items.image_bytes, items.encode_images),
            ("text", items.captions.count, budget // items.caption_bytes, items.encode_captions),
        )
        with output_errors(root):
            root.mkdir(parents=True, exist_ok=True)
            for modality, count, fitting, encode in parts:
                shape, step = (count, manifest.embedding_width(modality)), max(1, fitting)
                with (root / EMBEDDINGS[modality]).open("wb") as file:
                    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
                    np.lib.format.write_array_header_1_0(file, header)
                    for start in range(0, count, step):
                        encoded = encode(slice(start, min(start + step, count)))
                        file.write(np.ascontiguousarray(encoded.embedding, "<f4").data)
        return cls(root, items.matcher.projection)

    def projected(self, projection: Projection) -> Coarse:
        """The same vectors with another projection."""
        return Coarse(self.root, projection)

    def items(self, query: Modality) -> int:
        """Number of items that queries of this modality search."""
        return len(self._vectors[other(query)])

    def queries(self, query: Modality) -> int:
        """Number of queries of this modality."""
        return len(self._vectors[query])

    def vectors(self, modality: Modality) -> NDArray[np.float32]:
        """The embeddings ``float32 [items, E]`` of a modality, mapped from disk."""
        return self._vectors[modality]

    def rows(self, query: Modality, part: slice) -> NDArray[np.float32]:
        """Coarse scores ``float32 [queries, items]`` of some queries with every item."""
        gallery = self._vectors[other(query)]
        own = self.query_vectors(query, part)
        scores = np.empty((len(own), len(gallery)), np.float32)
        for start in range(0, len(gallery), CHUNK):
            chunk = slice(start, start + CHUNK)
            scores[:, chunk] = product(own, np.asarray(gallery[chunk]))
            release_pages(gallery)
        return scores

    def query_vectors(self, query: Modality, part: slice) -> NDArray[np.float32]:
        """The projected vectors of some queries, ``float32 [queries, E]``."""
        vectors = self._vectors[query]
        own = self.projection.query(query, np.array(vectors[part]))
        release_pages(vectors)
        return own

    def tile(self, query: Modality, part: slice, items: slice) -> NDArray[np.float32]:
        """Coarse scores ``float32 [queries, items]`` of some queries with some items."""
        gallery = self._vectors[other(query)]
        scores = product(self.query_vectors(query, part), np.array(gallery[items]))
        release_pages(gallery)
        return scores


def query_blocks(queries: int, items: int, cells: int = BLOCK_CELLS) -> Iterator[slice]:
    """Slices of queries with no more than ``cells`` pairs."""
    step = max(1, cells // items)
    for start in range(0, queries, step):
        yield slice(start, min(start + step, queries))
