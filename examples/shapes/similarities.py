"""What a re-ranker learns from: a matcher's scores of a split, and both modalities' cosines."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from examples.shapes.captions import CAPTIONS_PER_PICTURE
from examples.shapes.files import replacing
from itr_deploy import Matcher
from itr_deploy.evaluation.data.split import read_split
from itr_deploy.runtime.rerank import PooledSimilarity, Shape, SimilarityMatrices


@dataclass(frozen=True)
class Similarities:
    """A split's `scores` `[N, 5 N]`, and the pooled embeddings of its pictures and captions."""

    scores: NDArray[np.float32]
    pictures: NDArray[np.float32]
    captions: NDArray[np.float32]

    def by_caption(self, shape: Shape) -> SimilarityMatrices:
        """For captions as queries over pictures."""
        return SimilarityMatrices(
            self.scores.T, similarity(self.captions), similarity(self.pictures), shape
        )

    def by_picture(self, shape: Shape) -> SimilarityMatrices:
        """For pictures as queries over captions."""
        return SimilarityMatrices(
            self.scores, similarity(self.pictures), similarity(self.captions), shape
        )


def similarity(vectors: NDArray[np.float32]) -> PooledSimilarity:
    """Cosines between the rows `[N, E]`; among equal ones the lower row comes first."""
    return PooledSimilarity(np.array([f"{row:06d}" for row in range(len(vectors))]), vectors)


def similarities(
    matcher: Matcher, data: Path, split_name: str, pictures: slice, kept: Path
) -> Similarities:
    """Score some pictures of a split with their captions.

    The result is kept in the folder `kept`, in a file named after its inputs, and read from there
    the next time: a million pairs take a minute or two.
    """
    encoding = matcher.bundle.manifest.encoding_id[:12]
    path = kept / f"{split_name}-{pictures.start}-{pictures.stop}-{encoding}.npz"
    if not path.is_file():
        split = read_split(data, split_name)
        captions = slice(*(CAPTIONS_PER_PICTURE * end for end in (pictures.start, pictures.stop)))
        images = matcher.encode_images(np.array(split.regions[pictures]))
        texts = matcher.encode_texts(split.captions[captions])
        scores = matcher.score(texts=texts, images=images)
        with replacing(path) as temporary:
            np.savez(temporary, scores=scores, pictures=images.embedding, captions=texts.embedding)
    with np.load(path) as stored:
        return Similarities(stored["scores"], stored["pictures"], stored["captions"])
