"""A re-ranker added to a matcher's bundle: the base's files unchanged, plus two graphs."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from itr_deploy.bundle.files import output_errors, sha256_of
from itr_deploy.bundle.manifest import (
    IntraSimilarityKind,
    Manifest,
    RerankDirection,
    Reranker,
)
from itr_deploy.bundle.modality import RERANK_GRAPHS, GraphRole, Modality
from itr_deploy.bundle.store import Bundle, list_files, write_manifest
from itr_deploy.errors import BundleError, UsageError
from itr_deploy.exporters.build import GRAPHS, provenance_of, write_graph
from itr_deploy.exporters.specs import GraphSpec, GraphTensor
from itr_deploy.exporters.weights import WeightsFile
from itr_deploy.models.contract import RerankNetwork, TrainedReranker
from itr_deploy.models.registry import RerankerFamily

WEIGHTS = "rerank_weights.bin"
Progress = Callable[[str], None]


@dataclass(frozen=True)
class RerankSettings:
    """Settings that a re-ranker's checkpoint does not contain.

    Attributes:
        rows: K for text queries and for image queries, including the query.
        published_thresholds: Whether the edge thresholds are the published program's constants,
            whatever K is. Otherwise they are derived from K; both agree at the published K.
        intra_similarity: How the similarity within a modality was computed in training.
    """

    rows: tuple[int, int]
    published_thresholds: bool = False
    intra_similarity: IntraSimilarityKind = "pooled_cosine"

    def directions(self, family: RerankerFamily) -> dict[Modality, RerankDirection]:
        """K and the edge threshold of both directions.

        Raises:
            UsageError: K is too small, or a threshold could leave a row without any edge.
        """
        return {
            query: self._direction(family, query, rows, constant)
            for query, rows, constant in zip(RERANK_GRAPHS, self.rows, family.rows, strict=True)
        }

    def _direction(
        self, family: RerankerFamily, modality: Modality, rows: int, constant: int
    ) -> RerankDirection:
        if rows < 2:
            raise UsageError(f"K={rows} for {modality} queries; it counts the query: at least 2")
        divisor = constant if self.published_thresholds else rows
        # The largest of a row's K shares is at least 1 / K.
        if family.edge_share / divisor >= 1 / rows:
            raise UsageError(
                f"K={rows} for {modality} queries is too large for the published threshold "
                f"{family.edge_share} / {constant}: a row could lose all its edges; "
                "give edge_thresholds='rows' (--edge-thresholds rows)"
            )
        return RerankDirection(rows=rows, threshold=family.edge_share / divisor)


@dataclass(frozen=True)
class RerankSource:
    """What is added: the re-ranker's family, checkpoint file, loaded networks and settings."""

    family: RerankerFamily
    checkpoint: Path
    trained: TrainedReranker
    settings: RerankSettings


def build_reranked(
    base: Bundle, source: RerankSource, root: Path, progress: Progress = lambda step: None
) -> Manifest:
    """Write a bundle with a re-ranker into an empty directory.

    Everything of the base is copied unchanged, so that its galleries open with the new bundle.

    Args:
        base: The matcher's bundle.
        source: What to add.
        root: The directory.
        progress: Called with the name of each step as it begins.

    Raises:
        BundleError: The base has a re-ranker already.
        UsageError: The settings make no sense.
    """
    directions = source.settings.directions(source.family)
    if base.manifest.reranker is not None:
        raise BundleError(
            f"{base.path} has a re-ranker already; give the bundle it was made from as base= "
            "(--base)"
        )
    progress("copying the base")
    for name in base.manifest.files:
        target = root / name
        with output_errors(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(base.file(name), target)
    opset = max(graph.opset for graph in base.manifest.graphs.values())
    graphs, precision = dict(base.manifest.graphs), base.manifest.precision
    with WeightsFile(root / GRAPHS / WEIGHTS) as weights:
        for modality, role in RERANK_GRAPHS.items():
            progress(f"graph {role}")
            network = network_of(source.trained, modality)
            spec = rerank_spec(role, network, directions[modality].rows)
            graphs[role] = write_graph(network, spec, root, opset, precision, weights)
    progress("checksums and manifest")
    manifest = base.manifest.model_copy(
        update={
            "graphs": graphs,
            "reranker": _record(base.manifest, source, directions),
            "files": list_files(root),
        }
    )
    write_manifest(root, manifest)
    return manifest


def network_of(trained: TrainedReranker, query: Modality) -> RerankNetwork:
    """The network that serves queries of this modality."""
    return trained.text_to_image if query == "text" else trained.image_to_text


def rerank_spec(role: GraphRole, network: RerankNetwork, rows: int) -> GraphSpec:
    """The graph of one direction with K fixed; only the number of queries is free."""
    return GraphSpec(
        role,
        (
            GraphTensor("affinities", torch.float32, ("batch", rows, 2 * network.pillars)),
            GraphTensor("edges", torch.float32, ("batch", rows, rows)),
        ),
        (GraphTensor("scores", torch.float32, ("batch", rows - 1)),),
    )


def _record(
    base: Manifest, source: RerankSource, directions: dict[Modality, RerankDirection]
) -> Reranker:
    return Reranker(
        family=source.family.name,
        text_to_image=directions["text"],
        image_to_text=directions["image"],
        pillars=source.trained.pillars,
        neighbours=source.family.neighbours,
        heads=source.trained.heads,
        intra_similarity=source.settings.intra_similarity,
        base_encoding_id=base.encoding_id,
        provenance=provenance_of(source.checkpoint.name, sha256_of(source.checkpoint)),
    )
