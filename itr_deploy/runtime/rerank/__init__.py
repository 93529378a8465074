"""Re-ranking from similarities to pillars, in numpy and a bundle's re-ranking graphs."""

from __future__ import annotations

from itr_deploy.runtime.rerank.affinities import affinities
from itr_deploy.runtime.rerank.edges import ABSENT, edges
from itr_deploy.runtime.rerank.matrices import (
    Inputs,
    IntraSimilarity,
    MatrixSimilarity,
    Shape,
    SimilarityMatrices,
)
from itr_deploy.runtime.rerank.neighbours import NeighbourLists
from itr_deploy.runtime.rerank.pooled import PooledSimilarity

__all__ = [
    "ABSENT",
    "Inputs",
    "IntraSimilarity",
    "MatrixSimilarity",
    "NeighbourLists",
    "PooledSimilarity",
    "Shape",
    "SimilarityMatrices",
    "affinities",
    "edges",
]
