"""Re-ranking from similarities to pillars, in numpy and a bundle's re-ranking graphs."""

from __future__ import annotations

from itr_deploy.runtime.rerank.affinities import affinities
from itr_deploy.runtime.rerank.edges import ABSENT, edges
from itr_deploy.runtime.rerank.matrices import Inputs, Shape, SimilarityMatrices
from itr_deploy.runtime.rerank.neighbours import NeighbourLists

__all__ = [
    "ABSENT",
    "Inputs",
    "NeighbourLists",
    "Shape",
    "SimilarityMatrices",
    "affinities",
    "edges",
]
