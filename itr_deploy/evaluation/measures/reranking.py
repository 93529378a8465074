"""Re-ranks a split in both directions, as LeaPRR's published evaluation does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from itr_deploy.bundle.manifest import Reranker
from itr_deploy.bundle.modality import MODALITIES, Modality, other
from itr_deploy.errors import InputError
from itr_deploy.evaluation.data.answers import Answers
from itr_deploy.evaluation.data.memory import release_pages
from itr_deploy.evaluation.data.split import Split
from itr_deploy.evaluation.measures.merge import Rescored, TwoWayMerge
from itr_deploy.evaluation.measures.recall import Ranks
from itr_deploy.evaluation.scores.coarse import Coarse
from itr_deploy.evaluation.scores.cosines import Cosines
from itr_deploy.evaluation.scores.matrix import ScoreMatrix
from itr_deploy.evaluation.scores.split_scores import query_scores
from itr_deploy.runtime.rerank.matrices import Inputs, IntraSimilarity, Shape, SimilarityMatrices
from itr_deploy.runtime.rerank.neighbours import ListedSimilarity, NeighbourLists

BATCH = 64
"""Queries that are re-ranked at a time."""

MergeKind = Literal["published", "order"]
Network = Callable[[Modality, Inputs], NDArray[np.float32]]
"""New scores ``[q, K - 1]`` of the shortlists of queries of a modality."""


@dataclass(frozen=True)
class SplitSimilarities:
    """Similarities within each modality of a split, which a re-ranker reads.

    Attributes:
        coarse: The split's pooled embeddings.
        split: The data.
        lists: Neighbour lists by modality, where the user gives them.
    """

    coarse: Coarse
    split: Split
    lists: dict[Modality, NeighbourLists]

    def intra_similarity(self, modality: Modality, part: slice) -> IntraSimilarity:
        """Similarities of some items of a modality among each other.

        Raises:
            InputError: An item has no neighbour list.
        """
        if modality not in self.lists:
            return Cosines(self.coarse.vectors(modality)[part])
        split = self.split
        names = (split.image_ids if modality == "image" else split.caption_ids)[part]
        return ListedSimilarity(self.lists[modality], np.array(names))


def check_enough(record: Reranker, images: int, captions: int) -> None:
    """Check that enough items are ranked together.

    Raises:
        InputError: There are fewer than the re-ranker reads; its sizes are fixed.
    """
    least = max(record.pillars, record.neighbours)
    least_images = max(least, record.text_to_image.rows - 1)
    least_captions = max(least, record.image_to_text.rows - 1)
    if images < least_images or captions < least_captions:
        raise InputError(
            f"{images} images and {captions} captions are ranked together; this re-ranker needs "
            f"at least {least_images} and {least_captions}, as its sizes are fixed; evaluate a "
            "larger split"
        )


def check_lists(
    split: Split,
    lists: Mapping[Modality, NeighbourLists],
    record: Reranker,
    parts: Sequence[tuple[slice, slice]],
) -> None:
    """Check that a split, or each fold of it, can be re-ranked with the neighbour lists.

    Args:
        split: The data.
        lists: The lists by modality.
        record: The re-ranker's sizes.
        parts: For each part, the images and captions that are ranked together.

    Raises:
        InputError: An item has no list, or its list has too few items of its part.
    """
    for images, captions in parts:
        for modality, given in lists.items():
            names = split.image_ids if modality == "image" else split.caption_ids
            own = np.array(names[images if modality == "image" else captions])
            found = ListedSimilarity(given, own).lists(np.arange(len(own)), record.pillars)
            held = (found >= 0).sum(axis=1)
            if held.min() < record.pillars:
                raise InputError(
                    f"the neighbour list of {modality} {str(own[held.argmin()])!r} has "
                    f"{held.min()} of the {len(own)} {modality}s that are ranked together, itself "
                    f"counted; this re-ranker needs {record.pillars}: give longer lists"
                )


def reranked(
    matrix: ScoreMatrix,
    similarities: SplitSimilarities,
    images: slice,
    captions: slice,
    record: Reranker,
    network: Network,
    merge: MergeKind = "published",
) -> TwoWayMerge:
    """Re-rank every image's captions and every caption's images in a part of a split.

    Args:
        matrix: The matcher's scores of the whole split.
        similarities: Similarities within each modality of the whole split.
        images: The images of the part; only they and their captions are ranked.
        captions: Their captions.
        record: The re-ranker's sizes.
        network: Computes its scores.
        merge: What is written into the matrix of the matcher's scores, see `RerankOptions`.

    Raises:
        InputError: The part is too small for the re-ranker.
    """
    cross_scores = matrix.mapped()
    own = cross_scores[images, captions]
    check_enough(record, *own.shape)
    similarity: dict[Modality, IntraSimilarity] = {
        "image": similarities.intra_similarity("image", images),
        "text": similarities.intra_similarity("text", captions),
    }
    found = {}
    for query in MODALITIES:
        direction = record.direction(query)
        shape = Shape(direction.rows, record.pillars, record.neighbours, direction.threshold)
        scores = own if query == "image" else own.T
        matrices = SimilarityMatrices(scores, similarity[query], similarity[other(query)], shape)
        rescored = _rescored(matrices, query, network)
        found[query] = rescored.in_order() if merge == "order" else rescored
        release_pages(cross_scores)
    return TwoWayMerge(matrix.plane().part(images, captions), found["image"], found["text"])


def _rescored(matrices: SimilarityMatrices, query: Modality, network: Network) -> Rescored:
    shortlists, scores, before = [], [], []
    for start in range(0, matrices.queries, BATCH):
        rows = np.arange(start, min(start + BATCH, matrices.queries))
        inputs = matrices.inputs(rows)
        shortlists.append(inputs.shortlist)
        scores.append(network(query, inputs))
        before.append(np.take_along_axis(matrices.cross_scores[rows], inputs.shortlist, axis=1))
    return Rescored(np.concatenate(shortlists), np.concatenate(scores), np.concatenate(before))


def one_way_scores(merge: TwoWayMerge, query: Modality, part: slice) -> NDArray[np.float32]:
    """Scores ``float32 [queries, items]`` that order the items of some queries as a search does.

    A query's shortlist stays above the rest, whatever its new scores are.
    """
    found = merge.by_image if query == "image" else merge.by_caption
    scores = np.array(query_scores(merge.scores, query, part))
    above = scores.max(axis=1, keepdims=True) + 2  # new scores are cosines
    np.put_along_axis(scores, found.items[part], above + found.scores[part], axis=1)
    return scores


def one_way_ranks(before: Ranks, merge: TwoWayMerge, answers: Answers) -> Ranks:
    """Ranks as in a search: a query's shortlist in its new order, then the rest.

    Args:
        before: Ranks by the matcher alone.
        merge: Holds the new scores of both directions.
        answers: Which captions belong to which image.
    """
    found: dict[Modality, Rescored] = {"image": merge.by_image, "text": merge.by_caption}
    right = {
        query: answers.right(query, slice(0, len(entry.items)), entry.items)
        for query, entry in found.items()
    }
    return Ranks(
        _one_way(before.image_to_text, found["image"], right["image"]),
        _one_way(before.text_to_image, found["text"], right["text"]),
    )


def _one_way(
    before: NDArray[np.int64], found: Rescored, right: NDArray[np.bool_]
) -> NDArray[np.int64]:
    best = np.where(right, found.scores, -np.inf).max(axis=1, keepdims=True)
    above = np.count_nonzero(~right & ~(found.scores < best), axis=1)
    return np.where(right.any(axis=1), above + 1, before)
